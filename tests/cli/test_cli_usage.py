"""Wrong options and arguments are one sentence, as every other mistake."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("importance", "TABLE", "--target", "nope"),
            "--target: 'nope' is not one of 'ratio_to_teacher', 'score', 'ratio'; `minidisc importance --help` shows "
            "what is allowed",
        ),
        (("importance", "TABLE", "--weights", "x"), "--weights: 'x' is not one of 'uniform', 'observed'; "),
        (("recommend", "rte", "--from", "TABLE", "--top", "many"), "--top: "),
        (("importance",), "TABLE: missing; `minidisc importance --help` shows"),
        (("recommend", "rte"), "--from: missing; "),
        (("compare", "--format", "nope"), "--format: 'nope' is not one of "),
        (("plan", "--tusk", "x"), "--tusk: no such option; `minidisc plan --help` shows"),
        (("recommend", "rte", "--fromm", "TABLE"), "--fromm: no such option; the closest: --format, --from; "),
        (("tusk",), "tusk: no such command; the closest: 'status'; `minidisc --help` shows"),
        (("plan", "one", "two"), "got unexpected extra argument"),
    ],
)
def test_what_is_wrong_comes_first_and_then_where_to_look(minidisc, arguments, sentence):
    assert minidisc(*arguments).sentence.startswith(sentence)


def test_no_command_at_all_shows_the_help(minidisc):
    done = minidisc()
    assert done.code == 2
    assert "Commands:" in done.out + done.err
