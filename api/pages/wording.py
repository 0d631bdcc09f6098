"""The words of the pages in both languages, and how numbers and times read in each."""

import tomllib
from functools import cache
from importlib.resources import files

LANGUAGES = ("zh", "en")


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """Every word by key and language. Raises KeyError when a language is missing for one."""
    words = tomllib.loads(files("api.pages").joinpath("words.toml").read_text("utf-8"))
    return {key: {language: entry[language] for language in LANGUAGES} for key, entry in words.items()}


def words_of(language: str) -> dict[str, str]:
    """Every word in one language."""
    return {key: entry[language] for key, entry in catalogue().items()}


def choose_language(asked: str | None, accepted: str) -> str:
    """The language of a page: what was asked for, else what the browser prefers, else Chinese."""
    if asked in LANGUAGES:
        return asked
    preferred = [part.split(";")[0].strip().lower()[:2] for part in accepted.split(",")]
    return next((language for language in preferred if language in LANGUAGES), "zh")
