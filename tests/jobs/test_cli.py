"""The command line as a stranger meets it: every verb, the wrong flag, the wrong path."""

import pytest

from jobs.cli import VERBS, main


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([verb, "--help"])
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    if verb != "weights":  # of files alone
        assert "--recipe" in text and "--workspace" in text and "--set" in text


def test_help_lists_the_verbs(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(verb in text for verb in VERBS)


def test_an_unknown_verb_is_answered_with_the_known_ones(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["splitt"])
    assert exit_info.value.code == 2
    assert "invalid choice: 'splitt'" in capsys.readouterr().err


def test_a_missing_workspace_is_asked_for(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["split", "--recipe", "x.toml"])
    assert exit_info.value.code == 2
    assert "--workspace" in capsys.readouterr().err


def test_a_user_mistake_is_one_message_and_exit_code_2(tmp_path, capsys):
    recipe = tmp_path / "r.toml"
    recipe.write_text("")
    assert main(["split", "--recipe", str(recipe), "--workspace", str(tmp_path / "ws")]) == 2
    assert capsys.readouterr().err == (
        "dailies split: footage.path is not set; give --set footage.path=FOLDER_OR_URI or set it in the recipe\n"
    )


def test_a_workspace_that_cannot_be_written_is_said_before_any_work(tmp_path, capsys):
    recipe, blocked = tmp_path / "r.toml", tmp_path / "file"
    recipe.write_text("")
    blocked.write_text("in the way")
    assert main(["split", "--recipe", str(recipe), "--workspace", str(blocked / "ws")]) == 2
    assert "cannot write to workspace" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["split", "curate"])
def test_what_the_splitter_lacks_is_said_before_any_work(tmp_path, capsys, verb):
    recipe = tmp_path / "r.toml"
    recipe.write_text('[split]\nstitch_similarity = 0.9\nstitch_embedder = "clip"\n')
    assert main([verb, "--recipe", str(recipe), "--workspace", str(tmp_path / "ws")]) == 2
    said = capsys.readouterr().err
    assert "cannot start:\n  - stitch_embedder clip lacks the CLIP weights: set split.stitch_options.pretrained" in said
