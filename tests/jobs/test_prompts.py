"""What is asked for: files of prompts read whole or refused by line, and sizes with the nearest legal value."""

from pathlib import Path

import pytest

from curation.records import UserError
from jobs.prompts import Ask, check_size, read_prompts

DEFAULT = Ask("", seed=3, width=64, height=48, num_frames=17)


def read(folder: Path, name: str, text: str) -> list[Ask]:
    (folder / name).write_text(text)
    return read_prompts(folder / name, DEFAULT)


def test_a_text_file_holds_a_prompt_a_line(tmp_path):
    asks = read(tmp_path, "prompts.txt", "a red ball\n\n  a blue, square sky  \n")
    assert asks == [
        Ask("a red ball", 3, 64, 48, 17, "", "prompts.txt:1"),
        Ask("a blue, square sky", 3, 64, 48, 17, "", "prompts.txt:3"),
    ]


def test_columns_say_what_differs_and_pictures_lie_beside_the_file(tmp_path):
    by_csv = read(tmp_path, "p.csv", 'prompt,seed,size,image\n"rain, at night",7,512x320x65,first.png\nsnow,,96x64,\n')
    assert by_csv[0] == Ask("rain, at night", 7, 512, 320, 65, str(tmp_path / "first.png"), "p.csv:2")
    assert by_csv[1] == Ask("snow", 3, 96, 64, 17, "", "p.csv:3")
    lines = (
        '{"prompt": "rain, at night", "seed": 7, "size": "512x320x65", "image": "first.png"}\n\n{"prompt": "snow"}\n'
    )
    by_json = read(tmp_path, "p.jsonl", lines)
    assert [ask.where for ask in by_json] == ["p.jsonl:1", "p.jsonl:3"]
    assert by_json[0].num_frames == 65 and by_json[1].seed == 3


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "prompt,speed\na,1\n", "p.csv:2: unknown column 'speed'; known are prompt, seed, image, size"),
        ("p.csv", "prompt,seed\n,1\n", "p.csv:2: the prompt is empty"),
        ("p.csv", "prompt,seed\na,-1\n", "p.csv:2.seed must be a whole number of at least 0, got '-1'"),
        ("p.csv", "prompt,size\na,512\n", "p.csv:2.size must be WIDTHxHEIGHT or WIDTHxHEIGHTxFRAMES such as"),
        ("p.csv", "prompt,size\na,100x64\n", "p.csv:2.width must be a multiple of 16 px, got 100; nearest: 96"),
        ("p.csv", "prompt\na,b\n", "p.csv:2: unknown column"),
        ("p.jsonl", "[1]\n", "p.jsonl:1 must be a JSON object"),
        ("p.jsonl", "{\n", "p.jsonl:1 is not JSON"),
        ("p.txt", "a\nb\na\n", "p.txt:3 asks for the same as p.txt:1; give it another seed"),
        ("p.txt", "\n", "holds no prompt"),
        ("p.xlsx", "a", "is none of .txt, .csv, .jsonl"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(tmp_path, name, text, message):
    with pytest.raises(UserError) as caught:
        read(tmp_path, name, text)
    assert message in str(caught.value)


def test_a_missing_file_and_one_that_is_no_text_are_refused(tmp_path):
    with pytest.raises(UserError, match="is not there"):
        read_prompts(tmp_path / "none.txt", DEFAULT)
    (tmp_path / "p.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not UTF-8 text"):
        read_prompts(tmp_path / "p.txt", DEFAULT)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((70, 64, 17), "generate.width must be a multiple of 16 px, got 70; nearest: 64"),
        ((64, 90, 17), "generate.height must be a multiple of 16 px, got 90; nearest: 96"),
        ((4, 64, 17), "got 4; nearest: 16"),
        ((64, 64, 16), "num_frames must be 4n[+]1, got 16; nearest: 17"),
        ((64, 64, 2), "must be 4n[+]1, got 2; nearest: 1"),
        ((64, 64, 0), "must be 4n[+]1, got 0; nearest: 1"),
    ],
)
def test_a_size_that_cannot_be_made_is_refused_with_the_nearest_that_can(size, message):
    with pytest.raises(UserError, match=message):
        check_size(Ask("a", 0, *size))
