"""Network graphs: functions from input shape and number of classes to a tf_keras model that ends in logits."""
