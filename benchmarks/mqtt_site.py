"""The site file of the MQTT benchmark: one line, and a point for each publisher."""

SITE = """
[site]
name = "Works"
timezone = "Asia/Shanghai"
data_dir = "data"
gateway_id = "gw"

[[enterprise]]
id = "works"
name_zh = "工厂"
name_en = "Works"

[[line]]
id = "broker"
kind = "mqtt"
host = "127.0.0.1"
port = {port}
client_id = "{client}"
version = "{version}"
"""
POINT = """
[[meter]]
id = "M{0}"
line = "broker"
profile = "water/emg_message_water"

[[point]]
id = "W{0}"
enterprise = "works"
name_zh = "水"
name_en = "water"
carrier = "water"
level = "enterprise"
role = "input"
counts = "volume"
meter = "M{0}"
"""
