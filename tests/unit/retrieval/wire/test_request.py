import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from retrieval.wire.request import PRODUCT_FIELDS, Query, check_market, read_query
from retrieval.wire.violations import InvalidRequest
from tandem.v1 import search_pb2


def violations(**fields: object) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as error:
        read_query(search_pb2.SearchRequest(**fields))
    return {violation.field: violation.description for violation in error.value.violations}


def test_a_plain_request_takes_the_defaults() -> None:
    query = read_query(search_pb2.SearchRequest(query="  Red\tshoes "))
    assert (query.text, query.top_k, query.language, query.country) == ("Red shoes", 10, "", "")
    assert set(PRODUCT_FIELDS) - set(query.fields) == {"description", "attributes"}


def test_everything_given_is_taken() -> None:
    request = search_pb2.SearchRequest(
        query="x", top_k=200, language="pt-BR", country="br", product_mask=FieldMask(paths=["price", "title", "price"])
    )
    assert read_query(request) == Query("x", 200, ("price", "title"), "pt-br", "BR")


def test_a_star_asks_for_every_field() -> None:
    request = search_pb2.SearchRequest(query="x", product_mask=FieldMask(paths=["title", "*"]))
    assert read_query(request).fields == PRODUCT_FIELDS


@pytest.mark.parametrize("text", ["", "   ", "\t\n", "\u200b\ufeff", "\x00\x07"])
def test_an_empty_query_is_refused(text: str) -> None:
    assert violations(query=text) == {"query": "is empty; send the shopper's words"}


def test_the_length_counts_once_spaces_are_folded() -> None:
    assert len(read_query(search_pb2.SearchRequest(query="a" * 512)).text) == 512
    assert len(read_query(search_pb2.SearchRequest(query="a b " * 100 + " " * 500)).text) == 399
    assert violations(query="a" * 513) == {"query": "has 513 characters; send at most 512"}


def test_what_is_far_too_long_is_refused_before_it_is_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    folded: list[str] = []
    monkeypatch.setattr("retrieval.wire.request.fold_text", lambda text: folded.append(text) or " ".join(text.split()))
    assert read_query(search_pb2.SearchRequest(query="a" + " " * 2047)).text == "a"
    assert violations(query="a" + " " * 2048) == {"query": "has 2049 characters; send at most 512"}
    assert violations(query="a\u0301" * 30_000) == {"query": "has 60000 characters; send at most 512"}
    assert len(folded) == 1


def test_many_faults_are_told_by_the_first_ten() -> None:
    paths = [f"no{i}" for i in range(64)]
    with pytest.raises(InvalidRequest) as error:
        read_query(search_pb2.SearchRequest(query="x", top_k=-1, product_mask=FieldMask(paths=paths)))
    message = [violation.field for violation in error.value.violations]
    assert message == ["top_k", *(f"product_mask.paths[{i}]" for i in range(9))]
    assert str(error.value).endswith("product_mask.paths[2]: 'no2' is no field of Product; and 61 more")
    assert str(error.value).count("use title") == 1


def test_more_paths_than_fields_are_not_looked_at() -> None:
    assert read_query(search_pb2.SearchRequest(query="x", product_mask=FieldMask(paths=["title"] * 64)))
    result = violations(query="x", product_mask=FieldMask(paths=["\x00" * 9] * 65))
    assert result == {"product_mask.paths": "has 65 paths; send at most 64"}


def test_what_a_caller_sent_is_quoted_in_short() -> None:
    result = violations(query="x", product_mask=FieldMask(paths=["a\nb" + "c" * 5000]))
    assert result["product_mask.paths[0]"].startswith(r"'a\nb" + "c" * 36 + "…' is no field")
    with pytest.raises(InvalidRequest) as error:
        check_market(Query("x", language="l" * 128, country="C" * 128), "en", "IE")
    assert [violation.description for violation in error.value.violations] == [
        f"this catalog is in 'en'; ask a catalog in '{'l' * 39}…'",
        f"this catalog sells in 'IE'; ask a catalog for '{'C' * 39}…'",
    ]


@pytest.mark.parametrize("text", ["?!", "...", "-", "“”"])
def test_punctuation_alone_is_no_query(text: str) -> None:
    assert "no letter" in violations(query=text)["query"]


@pytest.mark.parametrize("text", ["7", "€", "+", "½", "靴", "🔥", "a?"])
def test_letters_digits_and_symbols_are(text: str) -> None:
    assert read_query(search_pb2.SearchRequest(query=text)).text == text


@pytest.mark.parametrize("top_k", [-1, 201, 2**31 - 1, -(2**31)])
def test_an_impossible_top_k_is_refused(top_k: int) -> None:
    assert violations(query="x", top_k=top_k) == {"top_k": f"is {top_k}; send 1 to 200, or 0 for 10"}


def test_words_are_explained_of_ten_hits_at_most() -> None:
    assert read_query(search_pb2.SearchRequest(query="x", explain_words=10)).explain_words == 10
    for hits in (-1, 11):
        assert violations(query="x", explain_words=hits) == {"explain_words": f"is {hits}; send 0 to 10"}


@pytest.mark.parametrize(("top_k", "taken"), [(0, 10), (1, 1), (200, 200)])
def test_a_possible_top_k_is_taken(top_k: int, taken: int) -> None:
    assert read_query(search_pb2.SearchRequest(query="x", top_k=top_k)).top_k == taken


def test_all_that_is_wrong_is_told_at_once() -> None:
    result = violations(
        query="",
        top_k=-5,
        catalog="c" * 129,
        language="l" * 129,
        country="x" * 129,
        product_mask=FieldMask(paths=["title", "prize", "price.units"]),
        experiment=search_pb2.ExperimentContext(experiment_id="e" * 129, variant_id="v" * 129),
    )
    assert set(result) == {
        "query",
        "top_k",
        "catalog",
        "language",
        "country",
        "product_mask.paths[1]",
        "product_mask.paths[2]",
        "experiment.experiment_id",
        "experiment.variant_id",
    }
    assert "'prize' is no field of Product; use title," in result["product_mask.paths[1]"]
    assert result["catalog"] == "has 129 characters; send at most 128"


@pytest.mark.parametrize(
    ("language", "country", "ok"),
    [
        ("", "", True),
        ("en", "", True),
        ("en-US", "IE", True),
        ("EN", "ie", True),
        ("de", "", False),
        ("english", "", False),
        ("", "US", False),
    ],
)
def test_a_market_must_be_the_catalogs(language: str, country: str, ok: bool) -> None:
    query = read_query(search_pb2.SearchRequest(query="x", language=language, country=country))
    if ok:
        check_market(query, "en-GB", "IE")
    else:
        with pytest.raises(InvalidRequest):
            check_market(query, "en-GB", "IE")


def test_both_faults_of_a_market_are_told() -> None:
    with pytest.raises(InvalidRequest) as error:
        check_market(Query("x", language="de", country="DE"), "en", "IE")
    assert [violation.field for violation in error.value.violations] == ["language", "country"]


def test_a_catalog_without_a_country_sells_everywhere() -> None:
    check_market(Query("x", country="DE"), "en", None)
