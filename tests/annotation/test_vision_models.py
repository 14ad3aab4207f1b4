"""Both backends give the model's own words for what the frames show, or say why there are none."""

import base64
import json
import logging
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from annotation.drafting import SCHEMA, MalformedDraft, read_words
from annotation.vision_models import (
    KEY_VARIABLE,
    DrafterSettings,
    LocalModel,
    NoReply,
    Reply,
    Request,
    ServedModel,
    load_model,
    missing,
    model_files,
)
from tests.annotation.chat_server import MODEL, Said, chat, error, serving
from tests.annotation.tiny_vision import ANSWERS, coloured, make_model, prompt

RED, BLUE = Request(coloured(0), prompt()), Request(coloured(2), prompt())
LONGER = Request(coloured(1, num_frames=4), f"Look well. {prompt()}")


def local(folder: Path, **settings) -> LocalModel:
    chosen = DrafterSettings.model_validate({"model": str(folder), "max_new_tokens": 150, **settings})
    model = load_model(chosen, SCHEMA)
    assert isinstance(model, LocalModel)
    return model


def texts(replies: list[Reply | NoReply]) -> list[str]:
    assert all(isinstance(reply, Reply) for reply in replies), replies
    return [reply.text for reply in replies if isinstance(reply, Reply)]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("taught"), "llava", ANSWERS)


@pytest.fixture(scope="module", params=["llava", "qwen2-vl"])
def random_model(request, tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("random"), request.param)


def test_a_taught_model_says_what_the_frames_show_whatever_stands_beside_them_in_the_batch(taught):
    model = local(taught, batch=4)
    requests = [RED, LONGER, BLUE, RED, BLUE]
    together = texts(model(requests))
    assert [together[place] for place in (0, 2, 3, 4)] == [ANSWERS[0], ANSWERS[1], ANSWERS[0], ANSWERS[1]]
    assert together == [text for request in requests for text in texts(model([request]))]
    assert read_words(together[2]).short == "A blue wall."


@pytest.mark.slow
def test_another_family_of_models_works_the_same_way(tmp_path):
    model = local(make_model(tmp_path / "model", "qwen2-vl", ANSWERS), batch=3)
    assert texts(model([RED, LONGER, BLUE]))[::2] == list(ANSWERS)


def test_a_random_model_gives_malformed_drafts_and_is_cut_off(random_model):
    assert missing(DrafterSettings(model=str(random_model))) == []
    for reply in local(random_model, max_new_tokens=40)([RED, BLUE]):
        assert isinstance(reply, Reply) and reply.is_cut
        with pytest.raises(MalformedDraft, match="Given: ") as caught:
            read_words(reply.text, reply.is_cut)
        assert caught.value.reason == "malformed: cut off"


def test_an_answer_that_ends_by_itself_is_not_cut(taught):
    assert local(taught)([RED]) == [Reply(ANSWERS[0], is_cut=False)]
    (cut,) = local(taught, max_new_tokens=20)([RED])
    assert isinstance(cut, Reply) and cut.is_cut and ANSWERS[0].startswith(cut.text)


def test_sampled_words_depend_on_the_seed_and_not_on_the_neighbours(random_model):
    model = local(random_model, temperature=1.0, max_new_tokens=12)
    first, second = (Request(coloured(0), prompt(), seed) for seed in (1, 2))
    one, two = texts(model([first, second]))
    assert one != two
    assert texts(model([second, first])) == [two, one]


def test_sixteen_bit_numbers_run_where_they_are_asked_for(taught):
    (reply,) = texts(local(taught, precision="bf16")([RED]))
    assert reply.startswith('{"short": "A red wall')


def test_what_a_folder_lacks_is_said_without_loading_weights(taught, tmp_path):
    def lacking(model: str, **settings: str) -> str:
        (why,) = missing(DrafterSettings.model_validate({"model": model, **settings}))
        return why

    assert "set annotation.drafter.model to a folder" in lacking("")
    assert "`hf download nobody/no-such-model --revision v2`" in lacking("nobody/no-such-model", revision="v2")
    assert "no such folder" in lacking(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    assert "must hold config.json and weights" in lacking(str(tmp_path / "empty"))
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (bare / name).symlink_to(taught / name)
    assert str(bare) in lacking(str(bare))
    processor = json.loads((taught / "processor_config.json").read_text())
    (bare / "processor_config.json").write_text(json.dumps(processor))
    assert "has no chat template" in lacking(str(bare))


def test_the_files_that_make_a_model_are_weights_and_configuration(taught):
    names = {path.name for path in model_files(DrafterSettings(model=str(taught)))}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names
    assert model_files(DrafterSettings(model=MODEL, url="http://localhost:1")) == []


def served(url: str, **settings) -> ServedModel:
    chosen = {"model": MODEL, "url": url, "backoff_s": 0.0, "attempts": 3, "timeout_s": 20.0, **settings}
    model = load_model(DrafterSettings.model_validate(chosen), SCHEMA)
    assert isinstance(model, ServedModel)
    return model


def test_a_server_is_shown_the_frames_in_order_and_held_to_the_schema():
    requests = [RED, Request(np.concatenate([coloured(0, 1), coloured(2, 1)]), "What is this?", seed=7)]
    with serving(lambda number, body: chat(ANSWERS[number])) as server:
        assert texts(served(server.url, batch=1, temperature=0.5)(requests)) == list(ANSWERS)
    body = server.bodies[1]
    assert (body["model"], body["seed"], body["temperature"], body["max_tokens"]) == (MODEL, 7, 0.5, 768)
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    *pictures, text = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is this?"}
    addresses = [picture["image_url"]["url"].partition("base64,") for picture in pictures]
    decoded = [
        cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR) for *_, data in addresses
    ]
    assert {head for head, *_ in addresses} == {"data:image/jpeg;"}
    assert [int(np.argmax(np.mean(np.array(picture), axis=(0, 1)))) for picture in decoded] == [2, 0], (
        "BGR: red, then blue"
    )


def test_a_malformed_answer_comes_back_as_it_is_and_a_cut_one_says_so():
    with serving(lambda number, body: chat("I cannot say.", "length" if number else "stop")) as server:
        assert served(server.url, batch=1)([RED, RED]) == [Reply("I cannot say."), Reply("I cannot say.", True)]


def test_overload_is_waited_out():
    script = [error(429, "slow down", Retry_After="0"), error(503, "warming up"), chat(ANSWERS[0])]
    with serving(lambda number, body: script[number]) as server:
        assert texts(served(server.url)([RED])) == [ANSWERS[0]]
    assert len(server.bodies) == 3


def test_an_error_for_ever_ends_after_the_attempts_with_the_last_words_of_the_server():
    with serving(lambda number, body: error(500, f"out of luck {number}")) as server:
        (reply,) = served(server.url)([RED])
    assert isinstance(reply, NoReply) and reply.reason == "endpoint unavailable"
    assert "3 attempts" in reply.detail and "HTTP 500" in reply.detail and "out of luck 2" in reply.detail
    assert len(server.bodies) == 3


def test_a_server_that_hangs_is_given_up_and_its_neighbours_are_answered():
    def answer(number: int, body: dict) -> Said:
        if body["seed"] == 666:
            server.closing.wait()
        return chat(ANSWERS[0])

    hanging = Request(coloured(0), prompt(), seed=666)
    with serving(answer) as server:
        first, second = served(server.url, timeout_s=0.3, attempts=2, batch=2)([hanging, RED])
    assert isinstance(first, NoReply) and "ReadTimeout" in first.detail
    assert second == Reply(ANSWERS[0])


def test_a_server_that_is_gone_is_a_failure_that_says_so():
    with serving(lambda number, body: chat("")) as server:
        pass
    (reply,) = served(server.url)([RED])
    assert isinstance(reply, NoReply) and reply.reason == "endpoint unavailable" and "ConnectError" in reply.detail


def test_a_server_that_knows_no_schemas_is_asked_without():
    def answer(number: int, body: dict) -> Said:
        return error(400, "response_format json_schema: unsupported") if "response_format" in body else chat("{}")

    with serving(answer) as server:
        assert texts(served(server.url, batch=1)([RED, BLUE])) == ["{}", "{}"]
    assert ["response_format" in body for body in server.bodies] == [True, False, False]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (error(400, "too many images"), "endpoint refused"),
        (error(401, "who are you"), "endpoint refused"),
        (Said(200, "<html>hello</html>"), "endpoint broke its protocol"),
        (Said(200, '{"choices": []}'), "endpoint broke its protocol"),
        (Said(200, "[]"), "endpoint broke its protocol"),
        (chat(None), "endpoint gave no words"),
    ],
)
def test_other_refusals_are_failures_at_once(said, reason):
    with serving(lambda number, body: said) as server:
        (reply,) = served(server.url)([RED])
    assert isinstance(reply, NoReply) and reply.reason == reason
    assert len(server.bodies) == 1


def test_as_many_requests_are_in_flight_as_the_batch_and_no_more():
    both = threading.Barrier(2, timeout=20)

    def answer(number: int, body: dict) -> Said:
        both.wait()
        return chat(str(body["seed"]))

    requests = [Request(coloured(0), "?", seed) for seed in range(6)]
    with serving(answer) as server:
        assert texts(served(server.url, batch=2)(requests)) == list("012345")
    assert server.most_in_flight == 2


def test_the_key_comes_from_the_environment_and_is_never_shown(monkeypatch, caplog):
    secret = "sk-0123456789-very-secret"
    monkeypatch.setenv(KEY_VARIABLE, secret)
    caplog.set_level(logging.DEBUG)
    with serving(lambda number, body: error(400, f"key {secret} is not for this")) as server:
        model = served(server.url)
        (reply,) = model([RED])
        assert missing(model._settings) == []
    assert server.keys == [f"Bearer {secret}"] * 2
    assert isinstance(reply, NoReply) and "key *** is not for this" in reply.detail
    assert secret not in caplog.text + repr(model.__dict__) + model._settings.model_dump_json()
    monkeypatch.delenv(KEY_VARIABLE)
    with serving(lambda number, body: chat("{}")) as server:
        served(server.url)([RED])
    assert server.keys == [None]


def test_a_server_that_cannot_do_the_work_is_found_out_before_any_work():
    def why(models: Said, model: str = MODEL) -> list[str]:
        with serving(lambda number, body: chat("{}"), models) as server:
            return missing(DrafterSettings(model=model, url=server.url))

    listed = Said(200, json.dumps({"data": [{"id": MODEL}]}))
    assert why(listed) == why(error(404, "no list here")) == []
    (unknown,) = why(listed, "huge")
    assert "the model 'huge', as http://127.0.0.1" in unknown and unknown.endswith(f"serves {MODEL}")
    (locked,) = why(error(401, "no"))
    assert KEY_VARIABLE in locked
    assert "OpenAI-compatible" in why(Said(200, "hello"))[0]
    assert "HTTP 500" in why(error(500, "broken"))[0]
    with serving(lambda number, body: chat("{}")) as server:
        pass
    assert "ConnectError" in missing(DrafterSettings(model=MODEL, url=server.url))[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"url": "localhost:8000"}, "no http"),
        ({"url": "http://me:secret@host"}, KEY_VARIABLE),
        ({"url": "http://host?key=secret"}, KEY_VARIABLE),
        ({"url": "http://host:8000/v1/"}, "leave out /v1"),
        ({"model": "folders/facts/"}, "rename"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        DrafterSettings.model_validate(given)
