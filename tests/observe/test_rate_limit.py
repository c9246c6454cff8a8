from consumer.observe.rate_limit import LINE_EVERY_S, MAX_KINDS, RateLimit


def test_one_of_a_kind_passes_in_a_while_and_the_next_one_counts_the_others() -> None:
    now_s = [1_000.0]
    limit = RateLimit(lambda: now_s[0])
    assert [limit.admit("a"), limit.admit("a"), limit.admit("b"), limit.admit("a")] == [0, None, 0, None]
    now_s[0] += LINE_EVERY_S
    assert [limit.admit("a"), limit.admit("a"), limit.admit("b")] == [2, None, 0]


def test_the_kind_that_passed_longest_ago_is_forgotten() -> None:
    limit = RateLimit(lambda: 0.0)
    for number in range(MAX_KINDS + 1):
        limit.admit(str(number))
    assert limit.admit("0") == 0
    assert limit.admit(str(MAX_KINDS)) is None
