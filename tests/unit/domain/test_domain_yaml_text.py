"""YAML that people write, and that others might."""

import pytest

from prompt_processing.domain.yaml_text import parse_yaml


def test_text_is_read_whatever_its_letters():
    assert parse_yaml('- "Cerro Pach\\u00f3n \\U0001F52D"') == ["Cerro Pach\u00f3n \U0001f52d"]


@pytest.mark.parametrize("document", ['"\\ud800"', '- {survey: "a\\udfff"}', '{"\\ud83d": 1}'])
def test_half_of_a_character_is_refused_and_its_place_told(document):
    with pytest.raises(ValueError, match=r"not YAML: .* half of a character\n.*line 1") as caught:
        parse_yaml(document)
    str(caught.value).encode()


def test_brackets_without_end_are_refused():
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_yaml("[" * 10_000)


@pytest.mark.parametrize("document", ["2025-13-45", "? [1, 2]\n: x", "!!int x", "!!timestamp x"])
def test_value_that_is_not_what_it_looks_like_is_refused(document):
    with pytest.raises(ValueError, match="not YAML"):
        parse_yaml(document)
