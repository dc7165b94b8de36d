"""Names of rows in a study's tables."""


def row_label(method: str, scale_percent: int | None) -> str:
    """A row's name with its scale, as the papers print it: ``MiniDisc10% (η=1)``.

    After a name of several words the scale comes last: ``every second layer, 10%``.
    """
    if scale_percent is None:
        return method
    first, space, rest = method.partition(" ")
    if rest and not rest.startswith("("):
        return f"{method}, {scale_percent}%"
    return f"{first}{scale_percent}%{space}{rest}"
