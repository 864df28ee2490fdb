"""Words and texts that nobody has written: as frequent, and as long, as in a real tracker.

In any language, the word of rank r is about 1 / r as frequent as the first one (Zipf's law). A
search index of texts without that property would be too fast or too slow by a lot.
"""

from __future__ import annotations

from functools import cache
from itertools import accumulate
from math import exp
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split())


VERBS = _listed(
    "add allow build change check clean collect compare convert correct create cut describe"
    " document drop explain export extend find fix handle import improve keep limit list load log"
    " make measure merge move name parse plan prepare prevent print protect read record reduce"
    " release remove rename repair replace report review rewrite send show simplify sort speed"
    " split start stop store support sync test translate try update upgrade use validate verify"
    " write"
)

COMMON = _listed(
    "the to of and a in is for on that it with as not when if be this by from or are was an at we"
    " all but after one can no which has there only before same should now than into its first"
    " other new them they will each may where error test file user list page table value query"
    " server client request response message index column row key name type version field form"
    " button menu dialog view report chart export import backup cache queue worker thread process"
    " memory disk network socket port token session login password account role permission group"
    " team project task issue ticket branch commit merge build release deploy stage staging"
    " production config setting option flag default limit timeout retry delay latency speed load"
    " size count total average median peak trend alert warning failure crash leak lock deadlock"
    " race order update delete insert select transaction schema migration column constraint"
    " trigger function library package dependency upgrade license header footer title image icon"
    " color font layout mobile desktop browser script style template email invoice payment price"
    " tax discount order customer address country currency language translation date time zone"
    " calendar reminder event webhook endpoint route path link redirect search filter sort"
    " pagination cursor offset batch job schedule log metric trace span sample"
)

ANIMALS = _listed(
    "otter heron lynx finch badger marten stoat curlew plover osprey kestrel merlin siskin dunlin"
    " avocet bittern gannet puffin wigeon teal ibex chamois marmot weasel beaver bison elk moose"
    " raven rook jackdaw magpie starling wren dipper swift martin nightjar hoopoe roller"
)

AREAS = _listed(
    "API WEB BILLING SEARCH MOBILE DOCS INFRA DATA AUTH REPORTS SUPPORT DESIGN SHOP EMAIL IMPORT"
    " METRICS QUALITY RELEASE OFFICE HIRING"
)

TAGS = _listed(
    "bug feature docs test security performance refactoring usability backend frontend database"
    " cleanup question legal urgent-customer good-first regression flaky waiting idea"
)

RARE_WORDS = 20_000
_SYLLABLES = [one + vowel + end for one in "bdfgklmnprstv" for vowel in "aeiou" for end in "lnrs"]


def numbered(names: Sequence[str], count: int) -> list[str]:
    """Return so many different names: the given ones, then again with a number behind them."""
    rounds = ("", *map(str, range(2, count // len(names) + 3)))
    return [name + again for again in rounds for name in names][:count]


class Writer:
    """Writes titles and texts by a generator of random numbers."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._words, self._weights = _vocabulary()

    def title(self) -> str:
        """Return a line of three to nine words."""
        words = self._some(self._random.randint(2, 8))
        return f"{self._random.choice(VERBS).capitalize()} {' '.join(words)}"

    def text(self, median: int, longest: int) -> str:
        """Return sentences of about `median` words in all, but sometimes many more."""
        random = self._random
        left = min(longest, max(3, int(median * exp(random.gauss(0, 0.9)))))
        words = self._some(left)
        sentences: list[str] = []
        start = 0
        while start < left:
            end = start + random.randint(5, 16)
            sentences.append(" ".join(words[start:end]).capitalize() + ".")
            start = end
        paragraphs = [" ".join(sentences[n : n + 5]) for n in range(0, len(sentences), 5)]
        return "\n\n".join(paragraphs)

    def _some(self, count: int) -> list[str]:
        return self._random.choices(self._words, cum_weights=self._weights, k=count)


@cache
def _vocabulary() -> tuple[list[str], list[float]]:
    """Return all words, the most frequent first, and their weights added up."""
    random = Random(1)  # noqa: S311 - the same words for everybody
    rare = {
        "".join(random.choices(_SYLLABLES, k=random.choice((2, 2, 3, 3, 4))))
        for _ in range(RARE_WORDS)
    }
    words = list(
        dict.fromkeys([*COMMON, *VERBS, *sorted(rare, key=lambda word: (len(word), word))])
    )
    return words, list(accumulate(1 / (rank + 2.7) for rank in range(len(words))))
