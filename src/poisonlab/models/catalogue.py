"""The catalogue of models: name → ``module:attribute`` of what builds it."""

MODELS: dict[str, str] = {
    "mlp": "poisonlab.models.networks:MLP",
    "deep_mlp": "poisonlab.models.networks:DeepMLP",
    "hashed_mlp": "poisonlab.models.networks:HashedMLP",
    "normalised_mlp": "poisonlab.models.networks:NormalisedMLP",
    "soft_1nn": "poisonlab.models.neighbours:Soft1NN",
    "soft_3nn": "poisonlab.models.neighbours:Soft3NN",
    "soft_5nn": "poisonlab.models.neighbours:Soft5NN",
    "pooled": "poisonlab.models.networks:Pooled",
    "strided": "poisonlab.models.networks:Strided",
    "small": "poisonlab.models.networks:Small",
    "std": "poisonlab.models.networks:Std",
    "small_cnn": "poisonlab.models.networks:SmallCNN",
}
