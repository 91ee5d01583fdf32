"""The data sets of the paper by name: their published split lists, with pinned contents, and where copies of them lie.

The lists are the few-shot splits that TA2N and the work around it report on. The project ships none of them: see
`fetch.py` for how they come onto a machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

# The repository of TA2N's authors (R00Kie-Liu/TA2N), at the commit whose lists the digests pin.
SOURCE = "https://raw.githubusercontent.com/R00Kie-Liu/TA2N/2becdd8174fe40812ef4c41828b5d9fc20fa95ec/splits"
LISTS = ("trainlist03.txt", "vallist03.txt", "testlist03.txt")


@dataclass(frozen=True, kw_only=True)
class NamedDataset:
    """A data set with published few-shot splits.

    Attributes:
        name: as `--dataset` takes it, and as its feature store is called.
        lists: folder of its lists in their source.
        digests: SHA-256 of each list file, by its name.
        homes: how the folder of its clips is usually called.
        numbered: whether a clip's name is a number that no other clip of the data set has, whatever folder it is in.
        timed: whether a clip's name may end in its time in the source, `_000012_000022`.
        flip: whether a mirrored clip still shows its class.
        source: URL of the folder that holds ``lists``.
    """

    name: str
    lists: str
    digests: Mapping[str, str]
    homes: tuple[str, ...]
    numbered: bool = False
    timed: bool = False
    flip: bool = True
    source: str = SOURCE


def _digests(train: str, val: str, test: str) -> Mapping[str, str]:
    return MappingProxyType(dict(zip(LISTS, (train, val, test), strict=True)))


_SSV2 = ("something-something-v2", "20bn-something-something-v2", "somethingsomethingv2", "ssv2", "sthv2", "smsm")

_ALL = (
    NamedDataset(
        name="ucf101",
        lists="ucf_ARN",
        digests=_digests(
            "5513fc00bdba74ae84ee721fc1cc2bae0aa2d4fb7883b9b6f90387ca1a54ddb8",
            "5482ce6d2f2db2568a8cd41158ab5a406fad36fcc9940c1811573937ad6bfc4f",
            "0887937010eee99ae3baf3178227ac35daebf6a35431b2df051fcf682b48bc31",
        ),
        homes=("ucf101", "ucf-101", "ucf_101"),
    ),
    NamedDataset(
        name="hmdb51",
        lists="hmdb_ARN",
        digests=_digests(
            "2524450b6d7b18775411361fbc366c30345d83516a2d6eec12b6af04c884ec88",
            "85458cf86f85354b411080f6aea3157c5831b1a3bf40fed24e4a2c7a17f8027c",
            "e2ce039f857287cb943a00d27ac6d2559a434e7bde5722d350c269253160d388",
        ),
        homes=("hmdb51", "hmdb-51", "hmdb_51", "hmdb51_org"),
    ),
    NamedDataset(
        name="ssv2-otam",
        lists="ssv2_OTAM",
        digests=_digests(
            "61b5f7eda569db893994d7855fab46dd4fbe7e467f3bdb8d57aef5106e58659f",
            "b9884e9e716fbb9a902121d797c0a43ec04517085eb6b36a2804e037db63d6eb",
            "83a1ac8e7c6f720c55dced1dc9deae1c11fb8271f8a3bb1f0952aed068646a1e",
        ),
        homes=_SSV2,
        numbered=True,
        flip=False,
    ),
    NamedDataset(
        name="ssv2-cmn",
        lists="ssv2_CMN",
        digests=_digests(
            "bfdc21ef80a2c702a331a30d62501903d860ac3d47d4d2c826696f68fe4a6c1d",
            "f2e259a25646f7c3440df3b504b1ae6aad1919ab2669ba420a037418d1a63995",
            "e8b4b69302bd85522fffdaebedd212557a8088e76df6dfcc76a82ac953fe739a",
        ),
        homes=_SSV2,
        numbered=True,
        flip=False,
    ),
    NamedDataset(
        name="kinetics-cmn",
        lists="kinetics_CMN",
        digests=_digests(
            "7c234ce3e8bd4dc28a030dba15e357fe955793f9e712c78337c0ef8b9e01992f",
            "e3144200327ce31bc5be0e1efb1107c6c7f2912c95eb2457095374b2c22bf74a",
            "8afbfb6f52f3c800d69dada2c0fe0817d267db560f4eee4a825395080c015944",
        ),
        homes=("kinetics", "kinetics400", "kinetics-400", "kinetics_400", "k400", "kinetics100", "kinetics-100"),
        timed=True,
    ),
)

PUBLISHED: Mapping[str, NamedDataset] = MappingProxyType({dataset.name: dataset for dataset in _ALL})
