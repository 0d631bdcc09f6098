"""A foreign Sparkplug B peer: Google's protobuf with the message written down from the published field numbers.

Source: Sparkplug Specification 3.0.0 (2022-11-16) - §6.4.1 Google Protocol Buffer schema. Nothing of the product is used.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPES = {"uint32": 13, "uint64": 4, "float": 2, "double": 1, "bool": 8, "string": 9, "bytes": 12}
_METRIC = "name:string:1 alias:uint64:2 timestamp:uint64:3 datatype:uint32:4 is_historical:bool:5 is_transient:bool:6 is_null:bool:7"
_VALUE = "int_value:uint32:10 long_value:uint64:11 float_value:float:12 double_value:double:13 boolean_value:bool:14 string_value:string:15 bytes_value:bytes:16"


def _message(name: str, fields: str, one_of: str = "") -> descriptor_pb2.DescriptorProto:
    message = descriptor_pb2.DescriptorProto(name=name)
    if one_of:
        message.oneof_decl.add(name="value")
    for text, within in [*((text, False) for text in fields.split()), *((text, True) for text in one_of.split())]:
        field, kind, number = text.split(":")
        added = message.field.add(name=field, number=int(number), type=_TYPES[kind], label=1)
        if within:
            added.oneof_index = 0
    return message


def _payload_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="peer.proto", package="peer", syntax="proto2")
    payload = _message("Payload", "timestamp:uint64:1 seq:uint64:3 uuid:string:4 body:bytes:5")
    metric = _message("Metric", _METRIC, _VALUE)
    # Metadata and properties are there to be passed over.
    metric.field.add(name="metadata", number=8, type=11, label=1, type_name=".peer.MetaData")
    metric.field.add(name="properties", number=9, type=11, label=1, type_name=".peer.PropertySet")
    properties = descriptor_pb2.DescriptorProto(name="PropertySet")
    properties.field.add(name="keys", number=1, type=9, label=3)
    file.message_type.extend([payload, metric, _message("MetaData", "description:string:8 size:uint64:3"), properties])
    payload_in_file = file.message_type[0]
    payload_in_file.field.add(name="metrics", number=2, type=11, label=3, type_name=".peer.Metric")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("peer.Payload"))


Payload = _payload_class()


def payload(seq: int | None, timestamp: int | None, *metrics: dict[str, Any]) -> bytes:
    """A payload as an edge node sends it; each metric by the names of the schema."""
    told = Payload()
    if seq is not None:
        told.seq = seq
    if timestamp is not None:
        told.timestamp = timestamp
    for metric in metrics:
        added = told.metrics.add()
        for name, value in metric.items():
            if name == "description":
                added.metadata.description = value
            elif name == "keys":
                added.properties.keys.extend(value)
            else:
                setattr(added, name, value)
    return told.SerializeToString()
