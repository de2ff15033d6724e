#!/usr/bin/env python3
"""Shows that the servers which the variables of `.ci/servers` name answer as the remote back-ends rely on.

Run by `.ci/servers check`, with pymongo and boto3. One line for each thing that is relied on, and one beginning with
"fact" for each that is only worth knowing: docs/decisions/0027-real-servers.md says what FerretDB does. Exit code 1
if anything is not as it has to be.
"""

import concurrent.futures
import os
import secrets
import sys
import urllib.parse

import boto3
import botocore
import botocore.config
import bson
import pymongo
import pymongo.errors
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

MEBI = 1 << 20
wrong = 0


def holds(what, so, found=""):
    global wrong
    print("ok   " if so else "WRONG", what, "" if so else f"({found})", flush=True)
    wrong += not so


def fact(what, ask):
    """Tells what comes of something that nothing rests on."""
    try:
        print("fact ", what + ":", ask(), flush=True)
    except (pymongo.errors.PyMongoError, botocore.exceptions.ClientError) as error:
        print("fact ", what + ":", type(error).__name__, getattr(error, "code", ""), str(error)[:100], flush=True)


def code_of(act):
    """The code with which it is refused, or None where it is done."""
    try:
        act()
    except pymongo.errors.OperationFailure as error:
        return error.code
    except botocore.exceptions.ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]
    return None


def mongodb(url):
    client = pymongo.MongoClient(url, serverSelectionTimeoutMS=10_000, retryWrites=False, retryReads=False)
    hello = client.admin.command("hello")
    database = client["lucid-check-" + secrets.token_hex(4)]
    try:
        plain = database["plain"]
        durable = plain.with_options(write_concern=WriteConcern("majority", j=True))

        durable.insert_one({"_id": 1})
        code = code_of(lambda: durable.insert_one({"_id": 1}))
        holds("a second insert of one _id is a duplicate key, 11000", code == 11000, code)

        def insert(number):
            return code_of(lambda: durable.insert_one({"_id": f"raced-{number // 8}", "by": number})) is None

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            winners = sum(pool.map(insert, range(400)))
        holds("of 8 writers that insert each of 50 ids, one wins each", winners == 50, winners)
        result = durable.insert_one({"_id": "journaled"})
        holds("writes are acknowledged by a majority and its journals", result.acknowledged)
        for level in ("majority", "linearizable"):
            found = plain.with_options(read_concern=ReadConcern(level)).find_one({"_id": "journaled"})
            holds(f"a read of level {level} sees the write", found == {"_id": "journaled"}, found)

        def later(number):
            """Whether a read that begins when a write has ended sees it, from another connection."""
            durable.insert_one({"_id": f"seen-{number}"})
            level = ReadConcern("linearizable")
            return other["plain"].with_options(read_concern=level).find_one({"_id": f"seen-{number}"}) is not None

        other = pymongo.MongoClient(url)[database.name]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            seen = sum(pool.map(later, range(200)))
        holds("what was written is seen by every other connection from then on", seen == 200, seen)

        content = secrets.token_bytes(8 * MEBI)
        durable.insert_one({"_id": "large", "content": content})
        found = plain.find_one({"_id": "large"})["content"]
        holds("a document of 8 MiB comes back", found == content)
        names = [row["_id"] for row in plain.find({"_id": {"$gte": "raced-1", "$lt": "raced-2"}}).sort("_id", 1)]
        holds("a range of ids comes back in order", names == sorted(names) and len(names) == 11, names)
        plain.delete_one({"_id": 1})
        holds("what is removed is not found", plain.find_one({"_id": 1}) is None)

        parts = urllib.parse.urlsplit(url)
        if parts.password:
            mistaken = url.replace(f":{parts.password}@", ":mistaken@", 1)
            code = code_of(lambda: pymongo.MongoClient(mistaken).admin.command("ping"))
            holds("a wrong password is refused, 18", code == 18, code)
            nobody = url.replace(f"{parts.username}:{parts.password}@", "", 1)
            code = code_of(lambda: pymongo.MongoClient(nobody)[database.name]["plain"].find_one())
            holds("without a password nothing is read, 13", code == 13, code)

        fact("replica set", lambda: hello.get("setName"))
        fact("wire version", lambda: hello["maxWireVersion"])
        fact("largest document", lambda: hello["maxBsonObjectSize"])
        fact("an unknown level of reading", lambda: "is accepted" if plain.with_options(
            read_concern=ReadConcern("nonsense")).find_one({"_id": "journaled"}) else "finds nothing")
        fact("five members that have to acknowledge", lambda: "are accepted" if plain.with_options(
            write_concern=WriteConcern(5)).insert_one({"_id": "five"}) else "")
        retried = {"insert": "plain", "documents": [{"_id": "retried"}], "txnNumber": bson.Int64(1),
                   "lsid": {"id": bson.Binary(secrets.token_bytes(16), 4)}}
        fact("a retried write", lambda: [database.command(retried) for _ in range(2)][1])

        def transaction():
            with client.start_session() as session, session.start_transaction():
                plain.insert_one({"_id": "within"}, session=session)
            return "is committed"

        fact("a transaction", transaction)
        fact("what a transaction wrote", lambda: plain.find_one({"_id": "within"}))
        fact("a change stream", lambda: plain.watch(max_await_time_ms=100).try_next())
    finally:
        client.drop_database(database.name)
        client.close()


def s3(prefix):
    def client(id_of, key_of):
        return boto3.client(
            "s3",
            endpoint_url=os.environ[prefix + "_ENDPOINT"],
            region_name=os.environ[prefix + "_REGION"],
            aws_access_key_id=id_of,
            aws_secret_access_key=key_of,
            config=botocore.config.Config(
                s3={"addressing_style": "path" if os.environ[prefix + "_PATH_STYLE"] == "true" else "virtual"},
                retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60,
            ),
        )

    bucket = os.environ[prefix + "_BUCKET"]
    id_of, key_of = (os.environ[prefix + name] for name in ("_ACCESS_KEY_ID", "_SECRET_ACCESS_KEY"))
    writer = client(id_of, key_of)
    under = "check-" + secrets.token_hex(4) + "/"

    def put(name, body, **how):
        return writer.put_object(Bucket=bucket, Key=under + name, Body=body, **how)

    def get(name, by=writer, **how):
        return by.get_object(Bucket=bucket, Key=under + name, **how)["Body"].read()

    content = secrets.token_bytes(8 * MEBI)
    put("large", content)
    try:
        holds("an object of 8 MiB in one request comes back", get("large") == content)
        part = get("large", Range="bytes=1048576-1048585")
        holds("a range of it comes back", part == content[MEBI:MEBI + 10])
        length = writer.head_object(Bucket=bucket, Key=under + "large")["ContentLength"]
        holds("its length is told", length == 8 * MEBI, length)
        code = code_of(lambda: get("absent"))
        holds("an object that is absent is 404", code == 404, code)
        put("large", b"anew")
        holds("an object that is put again is the new one", get("large") == b"anew")
        for number in range(25):
            put(f"many/{number:02}", b"")
        pages = writer.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=under + "many/", PaginationConfig={"PageSize": 10})
        names = [entry["Key"].rpartition("/")[2] for page in pages for entry in page["Contents"]]
        holds("a list is complete and in order over its pages", names == [f"{n:02}" for n in range(25)], names)
        writer.delete_object(Bucket=bucket, Key=under + "large")
        code = code_of(lambda: get("large"))
        holds("an object that is deleted is 404", code == 404, code)
        code = code_of(lambda: writer.delete_object(Bucket=bucket, Key=under + "large"))
        holds("to delete it again is no error", code is None, code)
        code = code_of(lambda: get("many/00", client(id_of, "mistaken")))
        holds("a wrong key is refused, 403", code == 403, code)
        code = code_of(lambda: writer.list_objects_v2(Bucket=bucket + "-absent"))
        holds("a bucket that is absent is 404", code == 404, code)
        if prefix + "_READER_ACCESS_KEY_ID" in os.environ:
            reader = client(*(os.environ[prefix + "_READER" + n] for n in ("_ACCESS_KEY_ID", "_SECRET_ACCESS_KEY")))
            listed = reader.list_objects_v2(Bucket=bucket, Prefix=under)["KeyCount"]
            holds("who may only read lists and reads", listed == 25 and get("many/00", reader) == b"", listed)
            code = code_of(lambda: reader.put_object(Bucket=bucket, Key=under + "by-reader", Body=b""))
            holds("and is refused to write, 403", code == 403, code)
            code = code_of(lambda: reader.delete_object(Bucket=bucket, Key=under + "many/00"))
            holds("and to delete, 403", code == 403, code)
        put("once", b"first")
        fact("If-None-Match: * where an object is",
             lambda: put("once", b"second", IfNoneMatch="*") and get("once"))
    finally:
        pages = writer.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=under)
        for entry in [entry for page in pages for entry in page.get("Contents", [])]:
            writer.delete_object(Bucket=bucket, Key=entry["Key"])


if __name__ == "__main__":
    if "LUCID_TEST_MONGO_URL" in os.environ:
        print("== mongodb", flush=True)
        mongodb(os.environ["LUCID_TEST_MONGO_URL"])
    for name in ("S3", "GARAGE"):
        if f"LUCID_TEST_{name}_ENDPOINT" in os.environ:
            print("==", name.lower(), flush=True)
            s3("LUCID_TEST_" + name)
    sys.exit(1 if wrong else 0)
