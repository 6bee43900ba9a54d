"""Answers that follow from a few cards of a header, worked out once for all headers in which these cards are the same.

The CCDs of an exposure have headers that are alike, and the next exposure has the same CCDs. A function that is
decorated with `once_for_same_cards` is run with headers that note which cards it asks for. When the function is called
with headers of the same layout in which these cards have the same text, its answer is the same too, and is not worked
out again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, NoReturn, TypeVar, cast

from gpuanom.cameras.rules import CameraRule
from gpuanom.fits.headers.card_places import cards_at
from gpuanom.fits.headers.scanned import CompressedImageHeader, ScannedHeader

Function = TypeVar("Function", bound=Callable[..., Any])

MOST_KEPT = 1024
"""Headers whose layouts are known for each function; and those whose answers are kept for each set of layouts and of
cards, twice as many: a camera has up to 200 CCDs, each with its own."""
_MOST_CARD_SETS = 8
"""Sets of cards that a function may ask for in headers of one layout; no answers are kept of a function with more."""
_MOST_FOR_ONE_IMAGE = 8
"""An answer about one image needs so many headers at most; more are those of a whole file."""
_MOST_MISSES = 256
"""After so many headers none of which was like an earlier one, no more answers are kept for their layout."""


class TrackedHeader(ScannedHeader):
    """A header that notes which of its cards a function looks at.

    Parameters
    ----------
    header : ScannedHeader
        The header itself, of which the new one has all cards and values.

    Attributes
    ----------
    asked : dict of int to None
        First letters of these cards.
    may_depend_on_any_card : bool
        Whether the function looked at more than single cards, so that its answer may depend on any card.
    """

    def __init__(self, header: ScannedHeader) -> None:
        self.layout, self.unusual = header.layout, header.unusual
        self.text, self._places = header.text, header._places
        self._values = {}
        self.asked: dict[int, None] = {}
        self.may_depend_on_any_card = False

    @property
    def astropy(self) -> Any:
        """The same header as astropy parses it: any card may count."""
        self.may_depend_on_any_card = True
        return ScannedHeader(self.text.encode("ascii")).astropy

    @property
    def _capitals(self) -> str:
        self.may_depend_on_any_card = True
        return self.text.upper()

    def get(self, keyword: str, default: Any = None) -> Any:
        """See `ScannedHeader.get`."""
        at = self._places.get(keyword.ljust(8))
        if at is not None:
            self.asked[at] = None
        return super().get(keyword, default)

    def part(self, names: Any) -> NoReturn:
        """Refuse: nobody asks for a part of a header here."""
        raise NotImplementedError


class _CardSet:
    """The cards that a function asks for, of one or more headers, and its answers by the text of these cards."""

    def __init__(self, headers: list[TrackedHeader]) -> None:
        self.asked = [list(h.asked) for h in headers]
        self._cards: list[tuple[slice, itemgetter[Any]]] = []
        """Headers that follow each other, of which the same cards are asked for, and the text of these cards."""
        for asked, alike in groupby(range(len(headers)), key=self.asked.__getitem__):
            first, *others = alike
            if asked:
                self._cards.append((slice(first, first + 1 + len(others)), cards_at(asked)))
        self.answers: dict[Any, Any] = {}

    def texts(self, headers: tuple[ScannedHeader, ...]) -> Any:
        """The text of the cards in other headers of the same layouts."""
        texts = list(map(_TEXT, headers))
        return tuple([tuple(map(of, texts[these])) for these, of in self._cards])


_TEXT, _LAYOUT = attrgetter("text"), attrgetter("layout")


class _KeptAnswers:
    """The answers of a function for headers of certain layouts.

    The function may ask for other cards where one of the cards has another value, hence several sets of cards.
    """

    def __init__(self, kept_alive: Any) -> None:
        self.kept_alive = kept_alive  # rules and layouts, so that no other ones get their identity
        self.card_sets: list[_CardSet] = []
        self.n_found = self.n_missed = 0
        self.is_given_up = False


_UNKNOWN = object()


def once_for_same_cards(function: Function) -> Function:
    """Decorate a function: its answers are kept for headers in which the cards that it asks for are the same.

    Parameters
    ----------
    function : callable
        Its answer follows from its arguments: camera rules, a header or `Cards`, and what can be hashed. Errors are
        not kept. No caller may change the answer.
    """
    known: dict[Any, _KeptAnswers] = {}

    @wraps(function)
    def with_kept_answers(*arguments: Any) -> Any:
        headers, key = _headers_and_key(arguments)
        if headers is None:
            return function(*arguments)
        kept = known.get(key)
        if kept is None:
            if len(known) * len(headers) >= MOST_KEPT:
                known.clear()
            kept = known[key] = _KeptAnswers(_named_by_identity(arguments, headers))
            if len(headers) > _MOST_FOR_ONE_IMAGE:
                return function(*arguments)  # whether these layouts come again is seen with the next file
        elif kept.is_given_up:
            return function(*arguments)
        for card_set in kept.card_sets:
            answer = card_set.answers.get(card_set.texts(headers), _UNKNOWN)
            if answer is not _UNKNOWN:
                kept.n_found += 1
                return answer
        return _call_and_keep(function, arguments, headers, kept)

    return cast(Function, with_kept_answers)


def _named_by_identity(arguments: tuple[Any, ...], headers: tuple[ScannedHeader, ...]) -> list[Any]:
    """What a key names by its identity: camera rules and layouts."""
    return [*(a for a in arguments if isinstance(a, CameraRule)), *(header.layout for header in headers)]


def _headers_and_key(arguments: tuple[Any, ...]) -> tuple[tuple[ScannedHeader, ...] | None, Any]:
    """The headers among the arguments, and what other calls must have in common; None where none can be compared."""
    if len(arguments) == 1 and type(header := arguments[0]) is ScannedHeader:
        return (None, None) if header.unusual else (arguments, id(header.layout))
    key: list[Any] = []
    headers: tuple[ScannedHeader, ...] = ()
    for argument in arguments:
        if isinstance(argument, CameraRule):
            key.append(id(argument))  # to hash hundreds of patterns takes longer than many an answer
            continue
        found = _comparable(argument)
        if found is None:
            key.append(argument)
            continue
        of_argument, of_key = found
        if of_argument is None:
            return None, None
        key.append(of_key)
        headers = headers + of_argument if headers else of_argument
    return headers or None, tuple(key)


def _comparable(argument: Any) -> tuple[tuple[ScannedHeader, ...] | None, Any] | None:
    """The headers of an argument, and its part of the key; None for an argument without headers.

    Several functions are called with the same argument, which keeps the result (`gpuanom.fits.headers.values.Cards`).
    """
    known: tuple[tuple[ScannedHeader, ...] | None, Any] | None = getattr(argument, "comparable", None)
    if known is not None:
        return known
    found = headers_of(argument)
    if found is None:
        return None
    tables = found
    if CompressedImageHeader in set(map(type, found)):
        tables = tuple([header.table if type(header) is CompressedImageHeader else header for header in found])
    answer: tuple[tuple[ScannedHeader, ...] | None, Any] = None, ()
    if set(map(type, tables)) <= {ScannedHeader}:
        layouts = list(map(_LAYOUT, tables))
        if not any(layout.unusual for layout in set(layouts)):
            answer = tables, (*map(id, layouts), *map(type, found))
    if hasattr(argument, "comparable"):
        argument.comparable = answer
    return answer


def tables_of_one_layout(headers: Any) -> tuple[ScannedHeader, ...] | None:
    """Return the headers of the image HDUs of `FileHeaders` as they are stored, if they are all of one layout.

    None where there is no image, where the layouts differ, or where names of cards are unusual.
    """
    tables = (_comparable(headers) or (None, ()))[0]
    alike = tables is not None and len(set(map(_LAYOUT, tables[1:]))) == 1
    return tables[1:] if tables is not None and alike else None


def headers_of(argument: Any) -> tuple[Any, ...] | None:
    """Return the headers of an argument: of `Cards` several, of a header itself; None for anything else."""
    of_cards = getattr(argument, "headers", None)
    if of_cards is not None:
        return cast("tuple[Any, ...]", of_cards)
    return (argument,) if isinstance(argument, ScannedHeader | CompressedImageHeader) else None


def _call_and_keep(
    function: Any, arguments: tuple[Any, ...], headers: tuple[ScannedHeader, ...], kept: _KeptAnswers
) -> Any:
    """Call the function with headers that note which cards it asks for, and keep its answer."""
    tracked = [TrackedHeader(header) for header in headers]
    replaced = iter(tracked)
    answer = function(*(_with_headers(argument, replaced) for argument in arguments))
    kept.n_missed += len(headers)
    if any(header.may_depend_on_any_card for header in tracked) or (not kept.n_found and kept.n_missed > _MOST_MISSES):
        kept.is_given_up, kept.card_sets = True, []
        return answer
    card_set = _CardSet(tracked)
    for other in kept.card_sets:
        if other.asked == card_set.asked:
            card_set = other
            break
    else:
        if len(kept.card_sets) == _MOST_CARD_SETS:
            kept.is_given_up, kept.card_sets = True, []
            return answer
        kept.card_sets = [*kept.card_sets, card_set]
    if len(card_set.answers) * len(headers) >= 2 * MOST_KEPT:
        card_set.answers.clear()
    card_set.answers[card_set.texts(headers)] = answer
    return answer


def _with_headers(argument: Any, replaced: Any) -> Any:
    """The argument with the next of the tracked headers in place of each of its headers."""
    if isinstance(argument, ScannedHeader):
        return next(replaced)
    if isinstance(argument, CompressedImageHeader):
        return CompressedImageHeader(next(replaced))
    found = headers_of(argument)
    if found is None:
        return argument
    return type(argument)(*(_with_headers(header, replaced) for header in found))
