"""`homeostat ask "what broke?"`: one turn of the conversation with the system."""

from __future__ import annotations

import getpass
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from homeostat.cli.output import Format, Output

if TYPE_CHECKING:
    from homeostat.kernels.voice_conversation import VoiceConversation

app = typer.Typer(help="Ask in words: status, what broke, why was the trade blocked, approve 1.")


@app.command()
def ask(
    words: Annotated[list[str] | None, typer.Argument(help="What you say.")] = None,
    output: Output = Format.TEXT,
    *,
    recording: Annotated[
        Path | None,
        typer.Option(help="A WAV file to listen to instead of words.", exists=True, dir_okay=False),
    ] = None,
    aloud: Annotated[
        Path | None, typer.Option(help="Write the answer, spoken, to this WAV file.")
    ] = None,
) -> None:
    """Say something and read the answer; an approval is read back before it takes effect."""
    from homeostat import registry
    from homeostat.store.database import migrate, transaction
    from homeostat.supervision import speech

    migrate()
    said = speech.hear(recording.read_bytes()) if recording else " ".join(words or ["help"])
    kernel = cast("VoiceConversation", registry.find("kernels.voice_conversation"))
    with transaction() as session:
        reply = kernel.converse(session, said, speaker=getpass.getuser())
    if aloud is not None:
        aloud.write_bytes(speech.say(reply.text))
    if output is Format.JSON:
        answer = {"said": said, "intent": reply.intent, "answer": reply.text}
        sys.stdout.write(json.dumps(answer | {"confirm": reply.phrase or None}) + "\n")
    else:
        typer.echo(reply.text)
