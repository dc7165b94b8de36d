"""Labels as people write them: class names, class numbers, or the values of a regression."""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from minidisc_ray.core.labels import DECIMAL, MOST_DIGITS, as_number
from minidisc_ray.data.quoting import cut, named, quoted

_MAX_NAMES_SHOWN = 10
_FLOAT32_MAX = 3.4e38
# An error of this size has a square (1e30) far below the float32 maximum.
_LARGEST_VALUE = 1e15
_FORBIDDEN_CATEGORIES = ("Cc", "Cs")  # of Unicode: control characters, lone surrogates
_UNLABELLED = Decimal(-1)  # in GLUE


class LabelError(ValueError):
    """A label that is not allowed; the caller adds the file and the row."""

    def __init__(self, found: str, allowed: str, row: int = 0) -> None:
        super().__init__(f"{found}; {allowed}")
        self.found = found
        self.allowed = allowed
        self.row = row  # from 1; 0 if a single label was checked

    def sentence(self, row: int, where: str) -> str:
        """The message with the place of the label."""
        return f"is {self.found} in row {row} of {where}; {self.allowed}"


class ClassIndex:
    """Maps a label to the position of its class.

    A label is looked up as a name first. Names that are numbers are compared by value, so that 1, 1.0, "1" and " 1" are
    one class whatever the file format.

    Args:
        names: of the classes, in the order of the model's outputs.
        allows_positions: whether a number that is no name may be a class's position, from 0. Use it only with names
            from the recipe: where names were found in the rows, a number among them is a name.
        allowed: the words before the names in an error.
    """

    def __init__(self, names: Sequence[str], allows_positions: bool, allowed: str = "allowed") -> None:
        self.names = tuple(names)
        self._allowed_words = allowed
        self._by_name = {name: position for position, name in enumerate(self.names)}
        values = [as_number(name) for name in self.names]
        self._by_value = {value: position for position, value in enumerate(values) if value is not None}
        # If names are numbers, any other number is a mistake and not a position.
        self.allows_positions = allows_positions and not self._by_value
        self.used_positions = False

    def __call__(self, value: Any) -> int:
        """The position of a label's class.

        Raises:
            LabelError: if the label is missing, or is none of the classes.
        """
        if value is None:
            raise LabelError("missing", self._allowed())
        text = _plain(value)
        for name in (text, text.strip(), *_boolean_spellings(text)):
            if name in self._by_name:
                return self._by_name[name]
        found = as_number(value)
        if found is not None and found in self._by_value:
            return self._by_value[found]
        if self.allows_positions and found is not None and found in range(len(self.names)):
            self.used_positions = True
            return int(found)
        raise LabelError(quoted(value), self._allowed())

    def positions_note(self) -> str:
        """Which class each position is, in words."""
        pairs = ", ".join(f"{position} is {named(name)}" for position, name in enumerate(self.names[:_MAX_NAMES_SHOWN]))
        return pairs + (", ..." if len(self.names) > _MAX_NAMES_SHOWN else "")

    def _allowed(self) -> str:
        shown = ", ".join(map(named, self.names[:_MAX_NAMES_SHOWN]))
        shown += ", ..." if len(self.names) > _MAX_NAMES_SHOWN else ""
        positions = f", or a number from 0 to {len(self.names) - 1}" if self.allows_positions else ""
        return f"{self._allowed_words}: {shown}{positions}"


def regression_value(value: Any) -> float:
    """A regression label as a float.

    Raises:
        LabelError: if it is missing or not a finite number.
    """
    if value is None:
        raise LabelError("missing", "every row needs a finite number")
    if isinstance(value, bytes) or (isinstance(value, str) and not DECIMAL.fullmatch(value.strip())):
        # float() also accepts 1_000 and digits of other scripts.
        raise LabelError(quoted(value), "allowed is a finite number")
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if isinstance(value, bool) or not abs(found) <= _FLOAT32_MAX:
        raise LabelError(quoted(value), "allowed is a finite number")
    if abs(found) > _LARGEST_VALUE:
        raise LabelError(quoted(value), f"its square can overflow float32; scale labels to at most {_LARGEST_VALUE:g}")
    return found


def distinct_names(values: Iterable[Any]) -> tuple[str, ...]:
    """Distinct labels as class names: numbers sorted by value, names alphabetically; missing labels are skipped.

    Spaces around a name are dropped, and numbers of equal value are one name.

    Raises:
        LabelError: with its row, if a label is empty, is no whole number (0.5), is -1, has control characters, or has
            the value of another row's label but a spelling that suggests a name (1.10 and 1.1).
    """
    seen: set[Any] = set()
    spellings: dict[str | Decimal, str] = {}
    first_rows: dict[str | Decimal, int] = {}
    texts: dict[Decimal, str] = {}
    for row, value in enumerate(values, start=1):
        if not isinstance(value, str | int | float | Decimal | None) or _is_fractional(value):
            raise LabelError(
                quoted(value), "a class is a name or a whole number; for values use task.kind: regression", row
            )
        if value is None or (type(value), value) in seen:
            continue
        seen.add((type(value), value))
        name = _plain(value).strip()
        if not name:
            raise LabelError("empty", "every row needs the name or number of a class", row)
        if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in name):
            raise LabelError(quoted(value), "the name of a class has no control characters and is valid Unicode", row)
        key = as_number(value)
        first = first_rows.setdefault(name if key is None else key, row)
        if isinstance(value, str) and key is not None:
            other = texts.setdefault(key, name)
            if other != name and not (_is_plain(other) and _is_plain(name)):
                raise LabelError(
                    quoted(name),
                    f"it is the number {cut(other)} of row {first}; name the classes in task.label_names",
                    row,
                )
        _keep_spelling(spellings, name, key)
    if _UNLABELLED in first_rows:
        allowed = "-1 marks rows without a label; leave them out, or name the classes in task.label_names"
        raise LabelError("-1", allowed, first_rows[_UNLABELLED])
    if any(not isinstance(key, Decimal) or not _is_whole(key) for key in spellings):
        return tuple(sorted(spellings.values()))
    return tuple(spellings[key] for key in sorted(spellings, key=Decimal))


def _boolean_spellings(text: str) -> tuple[str, ...]:
    """Spellings of a boolean: pandas writes True to CSV, JSON has true."""
    plain = text.strip().lower()
    return (plain, plain.capitalize(), plain.upper()) if plain in ("true", "false") else ()


def _keep_spelling(spellings: dict[str | Decimal, str], name: str, value: Decimal | None) -> None:
    """Keep the spelling of a class: as in its rows, but a whole number without leading zeros unless all rows agree."""
    if value is None:
        spellings[name] = name
    elif not _is_whole(value):
        spellings.setdefault(value, name)
    else:
        plain = str(int(value))
        spelling = name if name.isdigit() and name.startswith("0") else plain
        spellings[value] = spelling if spellings.get(value, spelling) == spelling else plain


def _is_plain(text: str) -> bool:
    """Whether a text is a whole number: digits, possibly with zeros after the decimal point."""
    whole, _, rest = text.lstrip("+-").partition(".")
    return whole.isdigit() and not rest.strip("0")


def _is_fractional(value: Any) -> bool:
    """Whether a value is a number that cannot be a class: not whole, or not finite."""
    if isinstance(value, float):
        return not value.is_integer()
    return isinstance(value, Decimal) and not (value.is_finite() and _is_whole(value))


def _is_whole(value: Decimal) -> bool:
    return value == value.to_integral_value()


def _plain(value: Any) -> str:
    """A label as text; 1.0 becomes "1", as tables with missing values turn whole numbers into floats."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Decimal) and value.is_finite() and _is_whole(value) and abs(value.adjusted()) <= MOST_DIGITS:
        return str(int(value))
    try:
        return str(value)
    except ValueError:
        # Python refuses to print an integer of thousands of digits.
        return quoted(value)
