"""What measurements write into documents stands between their marks, and nothing else changes."""

from pathlib import Path

import pytest

from bench import marked


def test_a_section_is_replaced_and_its_surroundings_stay(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n\n{marked.begin('profile')}\n\nold\n\n{marked.end('profile')}\n\nafter\n")
    marked.write("profile", marked.markdown(["", "PUT"], [["disk", "7"]]), document)
    assert document.read_text() == (
        f"before\n\n{marked.begin('profile')}\n\n|  | PUT |\n| --- | --: |\n| disk | 7 |\n\n{marked.end('profile')}\n\nafter\n"
    )


def test_a_document_without_the_marks_stays_as_it_is(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text("before\n")
    with pytest.raises(SystemExit):
        marked.write("profile", "new", document)
    assert document.read_text() == "before\n"


@pytest.mark.parametrize("name", ["profile", "growth"])
def test_the_marks_stand_in_the_document(name: str) -> None:
    text = marked.PERFORMANCE.read_text()
    assert text.count(marked.begin(name)) == text.count(marked.end(name)) == 1


def test_a_plain_table_is_aligned() -> None:
    assert marked.plain(["", "PUT"], [["disk", "1,234"]]) == "        PUT\ndisk  1,234"
