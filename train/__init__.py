"""The workstation stage: emotion classifiers are trained and measured here, with tf_keras. Not part of the wheel."""
