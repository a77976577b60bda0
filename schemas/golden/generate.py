#!/usr/bin/env python3
"""Makes the bytes that every language's encoder and decoder is held to, with Python's fastavro.

    examples/<Record>/valid/*.json -> treat sensitive fields -> golden/<Record>/*.avro
    <Record>.avsc -> parsing canonical form -> CRC-64-AVRO -> golden/fingerprints.json
    evolution/<Record>/<case>/{writer.avsc, written.json} -> writer.avro, expected.json

No code is shared with the project, so that agreement means something. Run it from anywhere, in an
environment with tests/python/requirements.txt installed; `--check` writes nothing and fails where a committed
file differs from what it would write, is missing or is left over.
"""

import argparse
import copy
import datetime
import hashlib
import io
import json
import struct
import sys
import uuid
from pathlib import Path

import fastavro
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form
from fastavro.validation import validate

SCHEMAS = Path(__file__).resolve().parent.parent


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def dump(value):
    # Only ASCII, so that no editor or file system can normalise a name or a value.
    return (json.dumps(value, indent=2) + "\n").encode("ascii")


def plain(schema):
    """The schema without logical types, so that values stay as JSON has them."""
    if isinstance(schema, list):
        return [plain(branch) for branch in schema]
    if isinstance(schema, dict):
        return {key: plain(value) for key, value in schema.items() if key != "logicalType"}
    return schema


def treat(event, schema):
    """The event as it may leave the process: sensitive fields hashed, masked or dropped."""
    treated = dict(event)
    for field in schema["fields"]:
        rule = field.get("sensitive")
        value = event[field["name"]]
        if rule is None or value is None or not event.get(rule.get("when"), True):
            continue
        if rule["action"] == "hash":
            value = "sha256:" + hashlib.sha256(value.encode("utf-8")).hexdigest()[:16]
        elif rule["action"] == "mask":
            value = "***"
        elif rule["action"] == "drop":
            value = None
        else:
            raise ValueError(f"unknown sensitive action {rule['action']!r}")
        treated[field["name"]] = value
    return treated


def encode(datum, schema):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, datum, strict=True)
    return out.getvalue()


def decode(body, writer, reader):
    source = io.BytesIO(body)
    # Parsed anew each time: fastavro marks the schemas that it has parsed.
    event = fastavro.schemaless_reader(source, copy.deepcopy(writer), copy.deepcopy(reader))
    if source.read():
        raise ValueError("bytes are left over")
    return event


def in_order(value, schema):
    """The value with its records' fields in the schema's order, not in the writer's."""
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record":
        return {f["name"]: in_order(value[f["name"]], f["type"]) for f in schema["fields"]}
    if kind == "array":
        return [in_order(item, schema["items"]) for item in value]
    return value


def crc_64_avro(data):
    """The fingerprint as the Avro specification writes it down, "Schema Fingerprints"."""
    empty = 0xC15D213AA4D7A795
    crc = empty
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (empty & -(crc & 1))
    return crc


class BlockEncoder:
    """Writes collections in blocks of `items` with a negative count and a size in bytes.

    The specification allows it and Java's BlockingBinaryEncoder does it; fastavro never does.
    With `items` None it writes as fastavro, which shows that the two agree on all the rest.
    """

    def __init__(self, items=None):
        self.items = items

    def long(self, value):
        value = (value << 1) ^ (value >> 63)
        out = bytearray()
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
        return bytes(out)

    def bytes(self, value):
        return self.long(len(value)) + value

    def blocks(self, items):
        out = b""
        size = self.items or max(len(items), 1)
        for start in range(0, len(items), size):
            block = items[start : start + size]
            body = b"".join(block)
            if self.items:
                out += self.long(-len(block)) + self.long(len(body)) + body
            else:
                out += self.long(len(block)) + body
        return out + self.long(0)

    def encode(self, value, schema):
        if isinstance(schema, list):
            # Enough for the records, whose unions are all of null and one other type.
            index = schema.index("null") if value is None else 1 - schema.index("null")
            value = value[1] if isinstance(value, tuple) else value
            return self.long(index) + self.encode(value, schema[index])
        kind = schema["type"] if isinstance(schema, dict) else schema
        if kind == "null":
            return b""
        if kind == "boolean":
            return bytes([value])
        if kind in ("int", "long"):
            return self.long(value)
        if kind == "double":
            return struct.pack("<d", value)
        if kind == "string":
            return self.bytes(value.encode("utf-8"))
        if kind == "enum":
            return self.long(schema["symbols"].index(value))
        if kind == "array":
            return self.blocks([self.encode(item, schema["items"]) for item in value])
        if kind == "map":
            return self.blocks(
                [
                    self.encode(key, "string") + self.encode(item, schema["values"])
                    for key, item in value.items()
                ]
            )
        if kind == "record":
            return b"".join(self.encode(value[f["name"]], f["type"]) for f in schema["fields"])
        raise ValueError(f"no encoder for {kind!r}")


class AvroJson:
    """Reads Avro's JSON encoding into what fastavro's writer takes.

    Bytes are strings of the characters U+0000 to U+00FF, and a union's value is null or an object
    of one member, named for its type. fastavro's own reader of it gives up on recursive records.
    """

    def __init__(self):
        self.names = {}

    def read(self, value, schema, namespace=""):
        if isinstance(schema, list):
            if value is None:
                return None
            ((name, value),) = value.items()
            for branch in schema:
                kind = branch["type"] if isinstance(branch, dict) else branch
                if name in (kind, self.full_name(branch, namespace)):
                    return (name, self.read(value, branch, namespace))
            raise ValueError(f"the union has no {name}")
        if isinstance(schema, str):
            if self.full_name(schema, namespace) in self.names:
                schema, namespace = self.names[self.full_name(schema, namespace)]
            else:
                return value.encode("latin-1") if schema == "bytes" else value
        kind = schema["type"]
        if "name" in schema:
            name = self.full_name(schema, namespace)
            namespace = name.rpartition(".")[0]
            self.names[name] = (schema, namespace)
        if kind in ("bytes", "fixed"):
            return value.encode("latin-1")
        if kind == "array":
            return [self.read(item, schema["items"], namespace) for item in value]
        if kind == "map":
            return {key: self.read(v, schema["values"], namespace) for key, v in value.items()}
        if kind == "record":
            fields = schema["fields"]
            if set(value) != {field["name"] for field in fields}:
                raise ValueError(f"the fields are not those of {schema['name']}")
            return {f["name"]: self.read(value[f["name"]], f["type"], namespace) for f in fields}
        return value

    @staticmethod
    def full_name(schema, namespace):
        name = schema
        if isinstance(schema, dict):
            name = schema.get("name", schema["type"])
            namespace = schema.get("namespace", namespace)
        return name if "." in name or not namespace else f"{namespace}.{name}"


def golden(record, schema, files):
    parse_schema(copy.deepcopy(schema))
    plain_schema = plain(schema)
    for path in sorted((SCHEMAS / "examples" / record / "valid").glob("*.json")):
        event = load(path)
        names = [field["name"] for field in schema["fields"]]
        if list(event) != names:
            raise ValueError(f"{path}: the fields are not those of {record}, in its order")
        if path.read_text(encoding="utf-8").count("\r"):
            raise ValueError(f"{path}: has carriage returns")
        validate(event, copy.deepcopy(plain_schema), strict=True)
        treated = treat(event, schema)
        body = encode(treated, plain_schema)
        if body != BlockEncoder().encode(treated, plain_schema):
            raise ValueError(f"{path}: two encoders disagree")
        if decode(body, plain_schema, plain_schema) != treated:
            raise ValueError(f"{path}: does not come back as it was written")
        # A reader that honours logical types sees a UUID and a point in time.
        logical = decode(body, schema, schema)
        if logical["eventId"] != uuid.UUID(event["eventId"]):
            raise ValueError(f"{path}: eventId is not a UUID in lower case")
        if not isinstance(logical["timestamp"], datetime.datetime):
            raise ValueError(f"{path}: timestamp is not read as one")
        target = SCHEMAS / "golden" / record / path.stem
        files[target.with_suffix(".avro")] = body
        if treated != event:
            files[target.with_suffix(".json")] = dump(treated)


def check_invalid(record, schema):
    for path in sorted((SCHEMAS / "examples" / record / "invalid").glob("*.json")):
        example = load(path)
        error = example["error"]
        if set(example) != {"event", "error"} or set(error) != {"kind", "field", "message"}:
            raise ValueError(f"{path}: must have event and error, with kind, field and message")
        if not error["message"].startswith(f"{record}.{error['field']} "):
            raise ValueError(f"{path}: the message must start with the record and the field")


def evolution(record, schema, files):
    for case in sorted(path for path in (SCHEMAS / "evolution" / record).glob("*") if path.is_dir()):
        writer = load(case / "writer.avsc")
        reader = schema
        if (case / "reader.avsc").exists():
            reader = load(case / "reader.avsc")
            if to_parsing_canonical_form(reader) != to_parsing_canonical_form(schema):
                raise ValueError(f"{case}: reader.avsc may add only aliases and enum defaults")
        for each in (writer, reader):
            parse_schema(copy.deepcopy(each))
        writer, reader = plain(writer), plain(reader)
        written = AvroJson().read(load(case / "written.json"), writer)
        if case.name.startswith("blocks-"):
            body = BlockEncoder(items=2).encode(written, writer)
        else:
            body = encode(written, copy.deepcopy(writer))
        files[case / "writer.avro"] = body
        expected = case / "expected.json"
        # That a case must fail is for a person to say; fastavro must then refuse it too.
        if expected.exists() and "error" in load(expected):
            try:
                event = decode(body, writer, reader)
            except Exception:
                files[expected] = dump(load(expected))
            else:
                raise ValueError(f"{case}: must not be readable, but gives {event}")
        else:
            files[expected] = dump(in_order(decode(body, writer, reader), reader))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    check = parser.parse_args().check

    files, fingerprints = {}, {}
    for path in sorted(SCHEMAS.glob("*.avsc")):
        record, schema = path.stem, load(path)
        golden(record, schema, files)
        check_invalid(record, schema)
        evolution(record, schema, files)
        canonical = to_parsing_canonical_form(schema)
        # The eight bytes in the order in which they stand in single-object encoding, that is
        # little-endian: the number's lowest byte comes first.
        fingerprints[record] = crc_64_avro(canonical.encode("utf-8")).to_bytes(8, "little").hex()
        if fingerprints[record] != fingerprint(canonical, "CRC-64-AVRO"):
            raise ValueError(f"{record}: two fingerprints disagree")
    files[SCHEMAS / "golden" / "fingerprints.json"] = dump(fingerprints)

    differences = []
    for path, data in files.items():
        if not path.exists() or path.read_bytes() != data:
            differences.append((path, "is stale" if path.exists() else "is missing"))
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    for path in (SCHEMAS / "golden").glob("*/*"):
        if path.suffix in (".avro", ".json") and path not in files:
            differences.append((path, "has no example"))
            if not check:
                path.unlink()
    for path, what in differences:
        print(f"{path.relative_to(SCHEMAS)} {what}" + ("" if check else ": mended"))
    print(f"{len(files)} files, {len(differences)} differences")
    return 1 if check and differences else 0


if __name__ == "__main__":
    sys.exit(main())
