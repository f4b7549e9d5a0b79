"""Training stage, for the workstation: trains and measures emotion classifiers with tf_keras. Not part of the wheel."""
