"""Dates that S3 requests carry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.auth.s3dates import format_basic, format_extended, parse_basic, parse_date


@given(st.integers(0, 253_402_300_799))
def test_basic(seconds: int) -> None:
    assert parse_basic(format_basic(seconds)) == seconds == parse_date(format_basic(seconds))


@pytest.mark.parametrize(
    "text",
    ["", "20130524", "20130524T000000", "20130524t000000Z", "20130524 000000Z", "20130524T000000z", "20130524T000000ZZ",
     "20131324T000000Z", "20130532T000000Z", "20130524T240000Z", "20130524T006000Z", "20130524T000060Z", "19691231T235959Z",
     "00000000T000000Z", "2013-524T000000Z", "+0130524T000000Z", "٢٠١٣٠٥٢٤T000000Z"],
)  # fmt: skip
def test_what_is_not_basic(text: str) -> None:
    assert parse_basic(text) is None
    assert parse_date(text) is None


@pytest.mark.parametrize(
    "text",
    ["Fri, 24 May 2013 00:00:00 GMT", "Fri, 24 May 2013 02:00:00 +0200", "Friday, 24-May-13 00:00:00 GMT", "20130524T000000Z"],
)
def test_dates_of_headers(text: str) -> None:
    assert parse_date(text) == 1369353600


@pytest.mark.parametrize(
    "text", ["", "today", "Fri, 99 May 2013 00:00:00 GMT", "Fri, 24 May 1913 00:00:00 GMT", "1 Jan 99999999 0:0:0 GMT", "9" * 99]
)
def test_what_is_no_date(text: str) -> None:
    assert parse_date(text) is None


def test_extended() -> None:
    assert format_extended(1369353600.9) == "2013-05-24T00:00:00Z"
    assert format_extended(10**18).startswith("9999") and format_extended(-5).startswith("1970")
