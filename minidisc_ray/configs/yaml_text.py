"""YAML as recipes use it: safe, without aliases, each key once, numbers of a length that numbers have."""

from collections.abc import Callable
from typing import Any

import yaml

_LONGEST_NUMBER = 100  # characters; a long one in base 16 or 60 costs more than any recipe is worth
_LONGEST_REASON = 200


def load_yaml(text: str) -> Any:
    """The one value of a text.

    Raises:
        ValueError: if it is not such YAML, or nested too deeply; one line that says why.
    """
    try:
        return _RecipeLoader(text).get_single_data()
    except Exception as error:
        # Everything, as constructors of tagged scalars (!!int, !!bool, !!timestamp) raise what their code happens to.
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        known = isinstance(error, yaml.YAMLError | ValueError | RecursionError)
        raise ValueError(reason if known and reason else "a value does not fit its tag") from error


class _RecipeLoader(yaml.SafeLoader):
    """Safe YAML without aliases, in which a key that stands twice is a mistake, not the last one's victory."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        # A few lines of aliases can stand for billions of values, or for themselves.
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(None, None, "aliases are not used here; write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", node.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _bounded(construct: Callable[[Any, yaml.ScalarNode], Any]) -> Callable[[Any, yaml.ScalarNode], Any]:
    def constructed(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
        if len(node.value) > _LONGEST_NUMBER:
            raise yaml.constructor.ConstructorError(None, None, f"a number of {len(node.value):,} characters")
        return construct(loader, node)

    return constructed


for _tag, _construct in (
    ("tag:yaml.org,2002:int", yaml.SafeLoader.construct_yaml_int),
    ("tag:yaml.org,2002:float", yaml.SafeLoader.construct_yaml_float),
):
    _RecipeLoader.add_constructor(_tag, _bounded(_construct))
