"""The methods that are compared: the scores of the run, and two simple baselines."""

INFLUENCE, GRADIENT, SIMILARITY = "influence", "gradient_product", "similarity"
NAMES = {
    INFLUENCE: "the scores",
    GRADIENT: "the gradient product",
    SIMILARITY: "the similarity of features",
}
