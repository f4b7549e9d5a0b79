"""MQTT transport that the sink, the client and the doctor share: connections, TLS, timing."""
