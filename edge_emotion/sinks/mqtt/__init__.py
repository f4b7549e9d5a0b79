"""The sink that publishes events over MQTT and keeps them until they are acknowledged."""
