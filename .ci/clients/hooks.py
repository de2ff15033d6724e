"""What the tester must be told to send chunks in their framing: any bytes, as of other bodies."""

import schemathesis

schemathesis.serializer.alias("application/x-lucid-chunks", "application/octet-stream")
