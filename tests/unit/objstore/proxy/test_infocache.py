"""What a proxy makes of several replicas' answers."""

from objstore.formats.messages import Setting, Settings, Stats, TableInfo
from objstore.proxy.infocache import merge_answers


def test_a_database_that_is_just_being_made_says_nothing() -> None:
    """Its first change gives it its name; a reader may ask in between."""
    known = Settings("/a/c", 5, values={"user:x": Setting("1", 5)})
    nameless = TableInfo(Settings(""), Stats())
    for answers in ([nameless, TableInfo(known, Stats())], [TableInfo(known, Stats()), nameless, TableInfo(None, Stats())]):
        assert merge_answers("/a/c", answers) == known
    assert merge_answers("/a/c", [nameless]) == Settings("/a/c")
