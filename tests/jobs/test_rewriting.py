"""Rewritten prompts from a real server and from a tiny local model; every failure is said, none is papered over."""

import json

import pytest

from annotation.vision_models import DrafterSettings, NoReply
from curation.records import UserError
from jobs.rewriting import RewriterSettings, rewrite, rewriter_of, rewriter_version
from tests.annotation.chat_server import MODEL, Said, chat, error, serving
from tests.annotation.tiny_vision import make_model


def answers(*said: Said, prompts=("a cat",), mode="normal", **settings) -> tuple[list[str | NoReply], list[dict]]:
    with serving(lambda number, body: said[min(number, len(said) - 1)]) as server:
        chosen = {"model": MODEL, "url": server.url, "backoff_s": 0.0, "attempts": 2, "batch": 1, **settings}
        return rewrite(list(prompts), mode, RewriterSettings.model_validate(chosen)), server.bodies


def test_each_mode_asks_for_what_it_is_named_for_and_keeps_the_request_whole():
    prompts = ['a cat says "no"', "two dogs"]
    given = [chat(json.dumps({"prompt": f"  Scene\\n {number}. "})) for number in range(2)]
    found, bodies = answers(*given, prompts=prompts, mode="master")
    assert found == ["Scene\\n 0.", "Scene\\n 1."]
    texts = [body["messages"][0]["content"][0]["text"] for body in bodies]
    assert 'Request: "a cat says \\"no\\""' in texts[0] and 'Request: "two dogs"' in texts[1]
    assert all(len(body["messages"][0]["content"]) == 1 for body in bodies), "no picture goes along"
    assert "director of photography" in texts[0]
    _, normal = answers(given[0])
    assert "Add nothing else" in normal[0]["messages"][0]["content"][0]["text"]
    assert normal[0]["response_format"]["json_schema"]["schema"]["required"] == ["prompt"]


@pytest.mark.parametrize(
    ("said", "reason", "detail"),
    [
        (error(500, "on fire"), "endpoint unavailable", "on fire"),
        (error(400, "no such words"), "endpoint refused", "no such words"),
        (chat("Sure! Here is a cat."), "malformed rewriting", "no JSON object with a text `prompt`. Given: Sure!"),
        (chat('{"prompt": ""}'), "malformed rewriting", "no JSON object"),
        (chat('{"prompt": "a c', "length"), "malformed rewriting", "max_new_tokens ended it"),
        (chat(json.dumps({"prompt": "The cat. " * 9})), "malformed rewriting", "says 'the cat' 9 times"),
        (chat(json.dumps({"prompt": "x" * 2001})), "malformed rewriting", "2001 characters, at most 2000 fit"),
    ],
)
def test_a_failure_is_an_answer_of_its_own_and_never_the_old_prompt(said, reason, detail):
    (found,), _ = answers(said)
    assert isinstance(found, NoReply)
    assert found.reason == reason and detail in found.detail


def test_a_local_model_is_asked_without_pictures(tmp_path):
    """It is random, so what it says is malformed; that it says something shows that it was asked."""
    folder = make_model(tmp_path / "model")
    settings = RewriterSettings(model=str(folder), max_new_tokens=8)
    (found,) = rewrite(["a cat"], "normal", settings)
    assert isinstance(found, NoReply)
    assert (found.reason, found.detail[:24]) == ("malformed rewriting", "max_new_tokens ended it.")
    assert rewriter_version("normal", settings) != rewriter_version("master", settings)


def test_the_model_that_drafts_stands_in_and_what_is_missing_is_said_by_section():
    drafter = DrafterSettings(model="m", url="http://localhost:1")
    assert rewriter_of(RewriterSettings(), drafter) is drafter
    own = RewriterSettings(model="nobody/no-such-model")
    assert rewriter_of(own, drafter) is own
    with pytest.raises(UserError, match=r"cannot start:\n  - generate.rewriter.model is 'nobody/no-such-model'"):
        rewriter_version("normal", own)
    with pytest.raises(UserError, match=r"set annotation.drafter.model"):
        rewriter_version("normal", DrafterSettings())
