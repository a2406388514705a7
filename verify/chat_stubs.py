#!/usr/bin/env python3
"""Holds the stubs of Telegram and Slack, which the tests of channels run against, to independent clients.

The clients are python-telegram-bot and slack-sdk (PyPI): what they send has to be understood, what they
are answered has to be what they take for an answer, and each refusal has to be the one that they know.

    python3 verify/chat_stubs.py --stubs target/ci/examples/chat_stubs

`cargo xtask ci` builds the stubs and makes an environment with both clients in `target/`.
"""

import argparse
import asyncio
import json
import subprocess
import sys

checks = 0


def check(what, good):
    global checks
    checks += 1
    if not good:
        raise SystemExit(f"chat stubs: {what}")


class Stubs:
    """The process, and what it is told."""

    def __init__(self, path):
        self.process = subprocess.Popen(
            [path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.about = json.loads(self.process.stdout.readline())

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.stdin.close()
        self.process.terminate()
        self.process.wait(10)


async def refused(what, kind, says, call):
    """The call fails as the client's own exception, with these words."""
    try:
        await call
    except kind as error:
        check(f"{what}: {error}", says.lower() in str(error).lower())
        return error
    check(f"{what}: it was accepted", False)


async def telegram(stubs):
    from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, LinkPreviewOptions
    from telegram.error import BadRequest, InvalidToken, RetryAfter

    about = stubs.about
    base = about["telegram"] + "/bot"
    chat = about["chat"]

    def keyboard(data):
        rows = [[InlineKeyboardButton("Approve", callback_data=data)]]
        return InlineKeyboardMarkup(rows)

    async with Bot(about["telegram_token"], base_url=base) as bot:
        me = await bot.get_me()
        check("getMe", me.is_bot and me.username == "placet_bot")
        options = LinkPreviewOptions(is_disabled=True)
        sent = await bot.send_message(
            chat, "first", reply_markup=keyboard("a" * 64), link_preview_options=options
        )
        check("sendMessage", sent.text == "first" and sent.chat.id == chat)
        other = bot.send_message(chat + 1, "x")
        await refused("another chat", BadRequest, "chat not found", other)
        long = bot.send_message(chat, "x" * 4097)
        await refused("a long text", BadRequest, "too long", long)
        wide = bot.send_message(chat, "x", reply_markup=keyboard("a" * 65))
        await refused("65 bytes of data", BadRequest, "button_data_invalid", wide)
        edited = await bot.edit_message_text("second", chat, sent.message_id)
        check("editMessageText", edited.text == "second")
        same = bot.edit_message_text("second", chat, sent.message_id)
        await refused("no change", BadRequest, "not modified", same)
        gone = bot.edit_message_text("third", chat, 999_999)
        await refused("no message", BadRequest, "message to edit not found", gone)
        query = stubs.say(f"press 42 {sent.message_id} hello")
        updates = await bot.get_updates(timeout=0, allowed_updates=["callback_query"])
        pressed = updates[-1].callback_query
        check("getUpdates", pressed.id == query and pressed.data == "hello")
        check("who pressed", pressed.from_user.id == 42 and pressed.message.chat.id == chat)
        again = await bot.get_updates(timeout=0)
        check("not confirmed yet", again[-1].update_id == updates[-1].update_id)
        none = await bot.get_updates(offset=updates[-1].update_id + 1, timeout=0)
        check("confirmed", not none)
        check("answerCallbackQuery", await bot.answer_callback_query(query, text="Approved"))
        twice = bot.answer_callback_query(query, text="Approved")
        await refused("a second answer", BadRequest, "query is too old", twice)
        unknown = bot.answer_callback_query("1", text="x")
        await refused("an unknown press", BadRequest, "query id is invalid", unknown)
        stubs.say("slow")
        error = await refused("429", RetryAfter, "retry", bot.send_message(chat, "x"))
        after = error.retry_after
        check("retry_after", (after if isinstance(after, int) else after.total_seconds()) == 3)
    wrong = Bot("1:x", base_url=base)
    await refused("a wrong token", InvalidToken, "", wrong.initialize())


def slack(stubs):
    from slack_sdk import WebClient
    from slack_sdk.errors import SlackApiError
    from slack_sdk.signature import SignatureVerifier

    about = stubs.about
    base = about["slack"] + "/"
    client = WebClient(token=about["slack_token"], base_url=base)
    channel = about["channel"]

    def fails(what, error, call):
        try:
            call()
        except SlackApiError as raised:
            check(f"{what}: {raised.response.data}", raised.response["error"] == error)
            return raised.response
        check(f"{what}: it was accepted", False)

    def plain(text):
        return {"type": "plain_text", "text": text}

    def section(text):
        return {"type": "section", "text": plain(text)}

    # "slow" was said to both; this one is still to come.
    response = fails("429", "ratelimited", lambda: client.chat_postMessage(channel=channel, text="x"))
    check("Retry-After", response.headers["Retry-After"] == "3")
    check("auth.test", client.auth_test()["ok"])
    sent = client.chat_postMessage(channel=channel, text="first", blocks=[section("hello")])
    check("chat.postMessage", sent["ok"] and sent["ts"])
    updated = client.chat_update(channel=channel, ts=sent["ts"], text="second")
    check("chat.update", updated["ts"] == sent["ts"])
    for what, error, call in [
        ("another channel", "channel_not_found", lambda: client.chat_postMessage(channel="C1", text="x")),
        ("no message", "message_not_found", lambda: client.chat_update(channel=channel, ts="1.1", text="x")),
        ("a long section", "invalid_blocks",
         lambda: client.chat_postMessage(channel=channel, text="x", blocks=[section("x" * 3001)])),
        ("51 blocks", "invalid_blocks",
         lambda: client.chat_postMessage(channel=channel, text="x", blocks=[section("x")] * 51)),
        ("a trigger of nobody", "expired_trigger_id",
         lambda: client.views_open(trigger_id="1.1", view={"type": "modal"})),
        ("no token", "invalid_auth",
         lambda: WebClient(token="xoxb-1", base_url=base).chat_postMessage(channel=channel, text="x")),
    ]:
        fails(what, error, call)
    view = {"type": "modal", "title": plain("Placet"), "blocks": [section("x")]}
    trigger = stubs.say("trigger")
    opened = client.views_open(trigger_id=trigger, view=view)
    fails("a trigger twice", "expired_trigger_id",
          lambda: client.views_open(trigger_id=trigger, view=view))
    view_id = opened["view"]["id"]
    check("views.update", client.views_update(view_id=view_id, view=view)["view"]["id"] == view_id)
    long = dict(view, title=plain("x" * 25))
    fails("a long title", "invalid_arguments", lambda: client.views_update(view_id=view_id, view=long))
    # Slack's own verifier takes what the stub signs.
    body = "payload=%7B%7D"
    signature = stubs.say(f"sign {body}")
    made = SignatureVerifier(about["signing_secret"]).generate_signature(
        timestamp="1790000000", body=body
    )
    check("signatures", signature == made)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--stubs", required=True, help="the example chat_stubs, built")
    stubs = Stubs(parser.parse_args().stubs)
    try:
        asyncio.run(telegram(stubs))
        slack(stubs)
    finally:
        stubs.end()
    print(f"chat stubs: {checks} checks with python-telegram-bot and slack-sdk")


if __name__ == "__main__":
    sys.exit(main())
