import io

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from prompt_processing.instruments.fits_cards import find_cards, promised_length


def header(**cards):
    return fits.Header(cards)


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
    number=st.integers(-(10**15), 10**15),
)
def test_texts_and_integers_are_read_as_astropy_writes_them(text, number):
    written = fits.PrimaryHDU(header=header(OTHER=1.5, GROUPID=text, CURINDEX=number, TRUTH=True))
    stream = io.BytesIO()
    written.writeto(stream)
    found = find_cards(stream.getvalue(), "GROUPID", "CURINDEX", "TRUTH", "OTHER", "ABSENT")
    assert found == {"GROUPID": text, "CURINDEX": number}


def test_a_card_after_the_end_does_not_count():
    stream = io.BytesIO()
    fits.PrimaryHDU().writeto(stream)
    later = stream.getvalue().rstrip() + b" " * 77 + b"GROUPID = 'late'".ljust(80)
    assert find_cards(later, "GROUPID") == {}


def test_what_is_no_fits_file_has_no_cards():
    assert find_cards(b"GROUPID = 'x'".ljust(80), "GROUPID") == {}


@pytest.mark.parametrize(
    "units",
    [
        [fits.PrimaryHDU()],
        [fits.PrimaryHDU(np.zeros((7, 11), np.int16))],
        [fits.PrimaryHDU(), fits.ImageHDU(np.zeros((50, 60), np.float32)), fits.ImageHDU()],
        [fits.PrimaryHDU(), fits.CompImageHDU(np.arange(10_000, dtype=np.int32).reshape(100, 100))],
        [fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "PJ()", array=[[1, 2], [3]])])],
    ],
)
def test_the_promised_length_is_the_length_of_what_astropy_writes(units):
    stream = io.BytesIO()
    fits.HDUList(units).writeto(stream)
    length = len(stream.getvalue())
    assert promised_length(stream) == length
    # What follows the last unit and is none does not count.
    stream.seek(0, io.SEEK_END)
    stream.write(b"\0" * 100)
    assert promised_length(stream) == length


def test_a_cut_file_promises_more_than_it_has():
    stream = io.BytesIO()
    fits.PrimaryHDU(np.zeros((700, 110), np.int16)).writeto(stream)
    stream.truncate(5000)
    assert promised_length(stream) > 5000


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"SIMPLE",
        b"SIMPLE  =                    T".ljust(2880),
        b"x" * 2880,
        b"SIMPLE  = T".ljust(2880 * 3000),
    ],
)
def test_what_has_no_header_is_refused(content):
    with pytest.raises(ValueError, match=r"header|begin"):
        promised_length(io.BytesIO(content))


def test_a_card_without_its_second_quotation_mark_costs_no_time():
    # Such a card keeps astropy busy for minutes.
    card = b"GROUPID = 'a b c d e f g h i j k l m n o p q r s t u v w x y z ' ' ' ' ' ' ' '".ljust(80)
    block = b"SIMPLE  =                    T".ljust(80) + card + b"END".ljust(80)
    assert find_cards(block, "GROUPID") == {"GROUPID": "a b c d e f g h i j k l m n o p q r s t u v w x y z"}
