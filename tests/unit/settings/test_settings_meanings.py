"""Help and documentation know what a field means; a process that only runs does not read sources."""

from __future__ import annotations

from pydantic import BaseModel

from prompt_processing.instruments.description.document import InstrumentDocument
from prompt_processing.settings.meanings import meanings_of
from prompt_processing.settings.worker import Settings


class Telescope(BaseModel):
    """A telescope."""

    aperture: float
    """Diameter of the
    mirror, metres."""
    name: str = ""
    mount: str = "alt-az"
    """Kind of mount."""


class Survey(Telescope):
    """A telescope with a plan."""

    mount: str = "equatorial"
    """Kind of mount, fixed by the plan."""
    cadence: float = 3.0
    """Nights between visits."""


def test_meaning_is_the_text_below_the_field_on_one_line() -> None:
    assert meanings_of(Telescope) == {
        "aperture": "Diameter of the mirror, metres.",
        "name": "",
        "mount": "Kind of mount.",
    }


def test_class_has_the_meanings_of_its_bases_and_may_replace_them() -> None:
    assert meanings_of(Survey) == {
        "aperture": "Diameter of the mirror, metres.",
        "name": "",
        "mount": "Kind of mount, fixed by the plan.",
        "cadence": "Nights between visits.",
    }


def test_every_setting_of_the_worker_has_a_meaning() -> None:
    meanings = meanings_of(Settings)
    assert meanings.keys() == Settings.model_fields.keys()
    assert [name for name, meaning in meanings.items() if not meaning] == []


def test_import_of_a_model_reads_no_source() -> None:
    for model in (Settings, InstrumentDocument):
        assert not model.model_config.get("use_attribute_docstrings")
