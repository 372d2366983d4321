"""What is read from a model's answer, and what is dropped with a record."""

from __future__ import annotations

from fo1agent.prompts import Group, grounded, parse


def test_groups_keep_the_model_s_order_and_merge_repeated_labels():
    reply = parse(grounded("dog", [3, 1]) + grounded("cat", [2]) + grounded("dog", [1, 0]), 5)
    assert reply.groups == (Group("dog", (3, 1, 0)), Group("cat", (2,)))
    assert reply.by_label() == {"dog": (3, 1, 0), "cat": (2,)}
    assert reply.dropped == ()


def test_a_region_the_picture_does_not_have_is_dropped_and_said():
    reply = parse(grounded("dog", [1, 7]), 2)
    assert reply.groups == (Group("dog", (1,)),)
    assert reply.dropped == ("<region7>: the picture has 2 regions",)


def test_an_absurdly_long_index_does_not_raise():
    reply = parse(f"<region{'9' * 5000}>", 2)
    assert reply.regions == ()
    assert "the picture has 2 regions" in reply.dropped[0]


def test_counting_reads_the_number_behind_the_regions():
    assert parse(grounded("dogs", [10, 11]) + " 2", 20).number == 2
    assert parse("There are none.", 20).number is None
    assert parse("9" * 5000, 20).number is None


def test_a_caption_keeps_its_words_and_its_links():
    reply = parse(f"{grounded('A dog', [1])} lies on {grounded('a couch', [0])} .", 2)
    assert reply.text == "A dog lies on a couch."
    assert reply.regions == (1, 0)


def test_thought_and_answer_are_kept_apart():
    reply = parse("<think>The bus <region1> is red.</think><answer>Two, see <region0>.</answer>", 2)
    assert reply.thought == "The bus <region1> is red."
    assert reply.text == "Two, see."
    assert reply.regions == (0,)


def test_unfinished_markup_is_text_with_a_record():
    reply = parse("<ground>dog</ground><objects><region0>", 1)
    assert reply.groups == ()
    assert reply.regions == (0,)
    assert reply.text == "dog"
    assert reply.dropped == ("3 tags that close no group: <ground> </ground> <objects>",)


def test_nothing_gives_an_empty_reply():
    reply = parse("", 0)
    assert (reply.text, reply.thought, reply.groups, reply.regions, reply.number) == ("", "", (), (), None)


def test_a_text_of_nothing_but_beginnings_is_read_in_no_time():
    for text, tags in (("<ground>" * 300_000, 300_000), ("<ground>a</ground><objects>" * 100_000, 300_000)):
        reply = parse(text, 1)
        assert reply.groups == ()
        assert reply.dropped[0].startswith(f"{tags} tags that close no group")
    assert len(parse("".join(f"<region{k}>" for k in range(100_000)), 1).dropped) == 99_999
    assert parse("\n" * 300_000 + "x ,", 1).text == "x,"


def test_the_innermost_label_is_the_one():
    assert parse("<ground>a <ground>dog</ground><objects><region0></objects>", 1).by_label() == {"dog": (0,)}
