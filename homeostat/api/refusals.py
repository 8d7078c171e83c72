"""How a route may refuse, as OpenAPI tells it; `homeostat.api.app` turns errors into these."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

Answers = dict[int | str, dict[str, Any]]


class Problem(BaseModel):
    """What was wrong, in one sentence."""

    detail: str


#: What every route may answer.
ANY: Answers = {
    401: {"model": Problem, "description": "The token is missing or wrong."},
    503: {"model": Problem, "description": "The database does not answer."},
}
MISSING: Answers = {404: {"model": Problem, "description": "There is none of that name."}}
TOO_LATE: Answers = {409: {"model": Problem, "description": "It stands otherwise by now."}}
