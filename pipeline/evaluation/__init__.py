"""The accuracy of a head on episodes, with its interval, and what it costs."""
