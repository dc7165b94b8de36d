"""YAML as recipes use it: safe, without aliases, repeated keys or overlong numbers."""

from collections.abc import Callable
from typing import Any

import yaml

_MAX_NUMBER_CHARACTERS = 100  # reading a very long number in base 16 or 60 takes too much time
_MAX_REASON_CHARACTERS = 200


def load_yaml(text: str) -> Any:
    """Read a text with one YAML value.

    Raises:
        ValueError: in one line, if the text is not such YAML or is nested too deeply.
    """
    try:
        return _RecipeLoader(text).get_single_data()
    except Exception as error:
        # Any exception: constructors of tagged scalars (!!int, !!bool, !!timestamp) raise what their code happens to.
        reason = " ".join(str(error).split())[:_MAX_REASON_CHARACTERS]
        known = isinstance(error, yaml.YAMLError | ValueError | RecursionError)
        raise ValueError(reason if known and reason else "a value does not fit its tag") from error


class _RecipeLoader(yaml.SafeLoader):
    """Safe YAML that refuses aliases, and repeated keys, of which YAML would keep the last one."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        # A few lines of aliases can expand to billions of values, or refer to themselves.
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed; write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        line_of: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in line_of:
                first = line_of[key.value]
                where = f"in line {line}" if line == first else f"in lines {first} and {line}"
                raise ValueError(f"{key.value!r} is set twice, {where}; remove one of them")
            line_of[key.value] = line
        return super().construct_mapping(node, deep)


def _bounded(construct: Callable[[Any, yaml.ScalarNode], Any]) -> Callable[[Any, yaml.ScalarNode], Any]:
    def constructed(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
        if len(node.value) > _MAX_NUMBER_CHARACTERS:
            raise yaml.constructor.ConstructorError(None, None, f"a number of {len(node.value):,} characters")
        return construct(loader, node)

    return constructed


for _tag, _construct in (
    ("tag:yaml.org,2002:int", yaml.SafeLoader.construct_yaml_int),
    ("tag:yaml.org,2002:float", yaml.SafeLoader.construct_yaml_float),
):
    _RecipeLoader.add_constructor(_tag, _bounded(_construct))
