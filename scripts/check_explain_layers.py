"""Print, for each recipe with feature maps, how far from a drawn blob the default layers of ``explain`` show it.

Networks with random weights. Run in the clone: PYTHONPATH=. python scripts/check_explain_layers.py [RECIPE ...]
"""

from __future__ import annotations

import sys

from edge_emotion.errors import ConfigError
from train.keras import K
from train.recipes.catalogue import RECIPES, find_recipe
from train.reporting.blob import misses
from train.reporting.saliency import activated_layers, last_feature_layer


def main() -> None:
    """Two lines for each recipe: the layer of Grad-CAM, and the first one of the feature maps."""
    for name in sys.argv[1:] or RECIPES:
        recipe = find_recipe(name)
        K.utils.set_random_seed(0)
        model = recipe.build(8, weights=None)
        try:
            layers = {"last": last_feature_layer(model), "first": activated_layers(model)[0]}
        except ConfigError as error:
            print(f"{name}: {error}")
            continue
        for which, layer in layers.items():
            distances = " ".join(f"{distance:.2f}" for distance in misses(model, recipe.input, layer))
            print(f"{name:20} {which:5} {layer:36} distance / side {distances}", flush=True)
        K.backend.clear_session()


if __name__ == "__main__":
    main()
