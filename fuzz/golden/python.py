"""Answers, line by line, what CPython makes of JSON and of times: the reference of the target `pyjson`.

A line is a letter and hex. `j` and a JSON text: the hex of json.dumps(value, sort_keys=True). `t` and a text:
the microseconds since 1970 that datetime reads in it. The answer begins with `=`; a refusal is an empty line.
With `golden` as its argument it prints questions and answers instead, the same ones every time.
"""
import datetime
import json
import random
import sys

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MICRO = datetime.timedelta(microseconds=1)


def answer(line):
    try:
        text = bytes.fromhex(line[1:]).decode()
        if line[0] == "j":
            return "=" + json.dumps(json.loads(text), sort_keys=True).encode().hex()
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.timezone.utc)
        return "=" + str((moment - EPOCH) // MICRO)
    except (ValueError, OverflowError, RecursionError):
        return ""


def golden():
    draw = random.Random(11)
    texts = [
        "-0", "-0.0", "0e0", "1E400", "-1e-400", "1e16", "1e15", "123456789012345680.0", "5e-324", "0.1e1",
        "1.7976931348623157e308", "2.2250738585072014e-308", "9007199254740993", "1e22", "1e23", "-1e-7",
        '"\\u0000"', '"\\ud83d\\ude00"', '"\x7f"', '"\\u007f"', '"é\\u00e9"', '"\\/"', '{"b": 1, "a": 2}',
        '{"\\uffff": 1, "\\ud800\\udc00": 2, "z": 3}', "[]", "{}", '[1, [2, {"a": []}]]', " [ 1 , 2 ] ",
        "true", "null", '"\\b\\f\\n\\r\\t\\"\\\\"', "1" * 4300,
    ]
    for _ in range(160):
        bits = draw.getrandbits(64)
        number = __import__("struct").unpack("<d", bits.to_bytes(8, "little"))[0]
        if number == number and abs(number) != float("inf"):
            texts.append("%.17e" % number)
    times = [
        "2025-01-27T10:00:00Z", "2025-01-27", "20250127T100000", "2025-01-27T10:00:00.123456789+05:30",
        "0001-01-01T00:00:00", "9999-12-31T23:59:59.999999Z", "2024-02-29T00:00:00Z", "1969-12-31T23:59:59.5Z",
        "2025-01-27 10:00:00", "2025-01-27T10", "2025-01-27T10:00:00-00:00", "1900-02-28T00:00:00Z",
    ]
    for kind, questions in (("j", texts), ("t", times)):
        for text in questions:
            line = kind + text.encode().hex()
            print(line, answer(line))


if sys.argv[1:] == ["golden"]:
    golden()
else:
    for question in sys.stdin:
        print(answer(question.strip()), flush=True)
