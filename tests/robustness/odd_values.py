"""The calls that odd ones are made of: commands that work, their flags, and values that are odd for each."""

from dataclasses import dataclass

CACHES = ["feats", "feats/toy.zarr", "toy.h5", "clips", "new", "new.zarr", "feats/toy.zarr/features", "."]
FILES = [
    "empty", "text.txt", "binary", "deep.json", "list-of-lists.json", "number.json", "splits.json", "classes-gone.json",
    "twice.json", "recipe.toml", "odd-recipe.toml", "deep-recipe.toml", "cut.h5", "text.h5", "cut.safetensors",
    "folder.h5", "empty-folder", "x[b]\x1b[31m", "caf\udce9", "loop", "dangling", "module.pth", "two.pth",
    "pickle.pth", "nowhere", "text.txt/below", "/proc/x", "/dev/null", "n" * 300, "", "list.json", "run", "foreign.h5",
]  # fmt: skip
_COUNTS = ["0", "-1", "1.5", "many", "nan", str(2**64), "1e9", "²"]
# Of what a call would be busy with for ever: large numbers are not odd.
_SMALL = ["0", "-1", "1.5", "many", "nan", "²", "1"]
_NUMBERS = ["0", "-1", "nan", "inf", "-inf", "1e999", "many", "1e-300"]
_NAMES = ["", "none", "x[/y]", "\x1b[31mred", "caf\udce9", "../x", "/abs", ".", "..", "a/b", "n" * 300, "a\nb", "toy"]
_DEVICES = ["cpu:7", "cuda", "cuda:9", "meta", "abacus", "", "cpu"]
_OPTIONS = [
    "channels=3", "frames=9", "seed=5", "size=1", "name=x", "tc=5", "tc=false", "metric=5", "metric=euclidean",
    "dropout=x", "dropout=2", "project=-3", "project=x", "project=2", "colour=1", "x", "=", "a=", "=1", "init=null",
    "perturbation=1e999",
    "cardinalities=[9]", "cardinalities=x", "tc=" + "[" * 5000, "metric=" + "9" * 5000,
]  # fmt: skip
_SPLITS = ["splits.json", "classes-gone.json", "twice.json", *FILES[:6], "clips", "nowhere", "loop", "/dev/null"]
_RECIPES = ["recipe.toml", "odd-recipe.toml", "deep-recipe.toml", *FILES[:4], "clips", "nowhere"]
_WRITTEN = [
    "text.txt",
    "text.txt/x",
    "clips",
    "/proc/x",
    "n" * 300,
    "x[b]\x1b[31m/new",
    "caf\udce9/new",
    "loop",
    "loop/x",
    "",
]

FLAGS: dict[str, list[str] | None] = {
    **dict.fromkeys(("--json", "--csv", "--dry-run", "--flip", "--no-flip", "--retry-failed", "--no-compile"), None),
    **dict.fromkeys(("--way", "--shot", "--queries", "--clips", "--views", "--frames", "--shard-size"), _COUNTS),
    **dict.fromkeys(("--epochs", "--episodes", "--val-episodes", "--test-episodes", "--decode"), _SMALL),
    **dict.fromkeys(("--workers", "--batch-size", "--patience", "--accumulate", "--seed", "--project"), _COUNTS),
    **dict.fromkeys(("--lr", "--deadline", "--memory", "--dropout"), _NUMBERS),
    "--cache": CACHES + FILES,
    "--dataset": _NAMES,
    "--split": ["train", "val", "dev", "", *_NAMES],
    "--method": ["none", "all,all", "protonet,protonet", ",", "sc", "protonet", "x[/y]"],
    "--against": ["none", "run", "protonet", "text.txt", "cut.safetensors", "clips", "caf\udce9"],
    "--checkpoint": ["none", "run", "text.txt", "cut.safetensors", "clips", "loop", "toy.h5"],
    "--device": _DEVICES,
    "--option": _OPTIONS,
    "--protocol": ["none", "trx", "ta2n-code", "x[/y]"],
    "--recipe": _RECIPES,
    "--split-file": _SPLITS,
    "--root": ["clips", "nowhere", "text.txt"],
    "--splits": ["clips", "nowhere", "text.txt", "y", "split"],
    "--out": _WRITTEN,
    "--report": [*_WRITTEN[1:], "new.json"],
    "--episodes-file": [*_WRITTEN, "list.json", "deep.json", "number.json", "binary", "new.json", "new.json.gz"],
    "--cache-in": ["ram", "disk", "tape", "device"],
    "--compression": ["zstd", "gzip", "zip", "none"],
    "--weights": ["random", "module.pth", "two.pth", "pickle.pth", "text.txt", "clips", "nowhere.pth", "imagenet9"],
    "--backbone": ["resnet18", "vgg", "", "x[/y]"],
    "--layer": ["layer3", "layer9", "", "x[/y]"],
    "--resize": ["256x256", "short-256", "10x10", "x", "0x0", "-1x5", "short-", "9" * 5000 + "x1"],
    "--rule": ["linspace", "none"],
    "--normalise": ["none", "x"],
    "--objective": ["base", "x"],
    "--optimizer": ["adam", "x"],
    "--only": ["toy", "nothing", ",", "protonet", "x[/y]"],
    "--recipes": ["clips", "nowhere", "text.txt"],
    "--finetuned": ["nowhere", "text.txt", "run"],
    "--features": ["feats", "y", "none", "short", "/", "", "x[/y]"],
    "--labels": ["y", "feats", "none", "short", "ids"],
    "--ids": ["ids", "twice", "none", "feats", "short"],
    "--name": _NAMES,
}


@dataclass(frozen=True)
class Base:
    """A call that works, and what may be odd about it.

    Attributes:
        command: its first words.
        words: all of them.
        paths: those of the words that are paths.
        flags: that may be added.
    """

    command: tuple[str, ...]
    words: tuple[str, ...]
    paths: frozenset[str]
    flags: tuple[str, ...]


def _base(command: str, words: str, paths: str, flags: str) -> Base:
    names = tuple(f"--{name}" for name in flags.split())
    return Base(tuple(command.split()), tuple(f"{command} {words}".split()), frozenset(paths.split()), names)


_TRAIN = (
    "way shot queries frames epochs episodes accumulate objective optimizer lr val-episodes patience seed dropout "
    "project option protocol recipe split-file device json"
)
_TEST = (
    "dataset split way shot queries test-episodes seed project option protocol recipe split-file memory "
    "episodes-file device json cache against"
)
BASES = {
    "extract": _base(
        "extract",
        "--dataset clips --cache new --backbone resnet18 --weights random --frames 1 --workers 1",
        "clips new",
        "dataset cache root splits backbone weights layer checkpoint frames rule resize normalise views flip no-flip "
        "seed batch-size workers deadline shard-size compression retry-failed no-compile protocol recipe split-file "
        "device dry-run json",
    ),
    "train-head": _base(
        "train-head",
        "--cache feats --method protonet --out new --way 2 --queries 1 --epochs 1 --episodes 2 --val-episodes 2 "
        "--device cpu",
        "feats new",
        f"cache method out dataset {_TRAIN} test-episodes cache-in dry-run csv",
    ),
    "evaluate": _base(
        "evaluate",
        "--cache feats --method protonet --way 2 --test-episodes 5 --device cpu",
        "feats",
        f"checkpoint method {_TEST}",
    ),
    "evaluate run": _base(
        "evaluate",
        "--cache feats --checkpoint run --test-episodes 5 --device cpu",
        "feats run",
        f"checkpoint {_TEST}",
    ),
    # Without a store a table renders and trains for an hour: only a dry run gets an odd --cache.
    "table": _base(
        "table",
        "--cache feats --only toy,protonet --shot 1 --out new --way 2 --queries 1 --epochs 1 --episodes 2 "
        "--test-episodes 3 --device cpu",
        "new",
        "only shot root splits seed recipes out finetuned way queries epochs episodes accumulate optimizer lr project "
        "test-episodes protocol device dry-run json",
    ),
    "table (dry)": _base(
        "table",
        "--dry-run --cache feats --device cpu",
        "feats",
        "cache only shot root splits seed recipes out finetuned json",
    ),
    "cache info": _base("cache info", "feats", "feats", "dataset json"),
    "cache verify": _base("cache verify", "feats", "feats", "dataset json"),
    "cache export": _base("cache export", "feats new.h5", "feats new.h5", "dataset compression json"),
    "cache import": _base(
        "cache import", "toy.h5 new", "toy.h5 new", "compression features labels ids splits split-file name seed"
    ),
    "import other": _base(
        "cache import",
        "foreign.h5 new --features feats --labels y",
        "foreign.h5 new",
        "compression features labels ids splits split-file name seed",
    ),
    "dataset check": _base(
        "dataset check",
        "clips --way 2 --shot 1",
        "clips",
        "root splits split-file way shot queries decode workers report seed json",
    ),
    "demo": _base("demo", "--device cpu:7 --out new", "new", "out episodes epochs clips seed json"),
}
