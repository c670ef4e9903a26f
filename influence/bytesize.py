"""Sizes in bytes as people write them."""


def parse_bytes(text: str) -> int:
    """'512MiB' or '2GB' in bytes."""
    units = {
        "KiB": 2**10,
        "MiB": 2**20,
        "GiB": 2**30,
        "TiB": 2**40,
        "kB": 10**3,
        "MB": 10**6,
        "GB": 10**9,
        "TB": 10**12,
    }
    for suffix, factor in units.items():
        if text.endswith(suffix):
            try:
                value = float(text.removesuffix(suffix)) * factor
            except ValueError:
                break
            if value == float("inf"):
                break
            if value >= 2**20:
                return int(value)
            raise ValueError(f"{text!r} is less than 1MiB")
    raise ValueError(f"write a size such as 512MiB or 2GiB, not {text!r}")
