"""What the demo shows: single subjects, and one take for each thing that a gate must catch."""

from collections import Counter

import numpy as np

from jobs.demo_films import FILMS


def test_every_spoilt_kind_occurs_once_and_most_takes_are_plain():
    kinds = Counter(take.kind for film in FILMS for take in film.takes)
    assert {kind: kinds[kind] for kind in ("blurred", "static", "dark", "text")} == dict.fromkeys(
        ("blurred", "static", "dark", "text"), 1
    )
    assert kinds["plain"] >= 25


def test_one_take_is_joined_by_a_fade_and_it_is_not_the_first_of_its_film():
    assert [index for film in FILMS for index, take in enumerate(film.takes) if take.fade_in] == [1]


def test_names_and_titles_are_unique_and_titles_are_plain_sentences():
    assert len({film.name for film in FILMS}) == len({film.title for film in FILMS}) == len(FILMS)
    for film in FILMS:
        assert film.title.islower() and 5 <= len(film.title.split()) <= 15
        assert film.name.endswith(".mp4")


def test_only_the_static_take_has_a_camera_that_stands_still():
    still = [take.kind for film in FILMS for take in film.takes if take.start == take.end]
    assert still == ["static"]


def test_scenes_are_built_from_the_generator_alone():
    take = FILMS[3].takes[0]
    first, second = (take.build(np.random.default_rng(9))[1](0.5) for _ in range(2))
    assert [actor.centre.tolist() for actor in first] == [actor.centre.tolist() for actor in second]
