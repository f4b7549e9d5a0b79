"""The MQTT contract without I/O: topic names, payloads and Home Assistant's discovery. See docs/reference/mqtt.md."""
