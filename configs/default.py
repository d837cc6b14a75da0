"""Defaults of every experiment, each with its unit and the source of its value.

Sources: "slides", "figure": the talk on, and the figures of, *Image Generation from
Sketch Constraint Using Contextual GAN* (ECCV 2018, arXiv 1711.08972); "authors' code":
the released variant; "request": asked for by this project's users; "ours": decided here
(docs/design.md says why).
"""

import ml_collections


def learning_rate(style: str) -> float:
    """The slides' learning rate for sketches in a style, or in several.

    2e-4 for XDoG, 1e-5 for every other style, and where such a one is among several.
    """
    return 2e-4 if set(style.split(",")) <= {"xdog", "xdog_solid"} else 1e-5


class _ByStyle:
    """What makes a field of a style, as `ml_collections.FieldReference` takes it."""

    def __init__(self, style: ml_collections.FieldReference) -> None:
        self.args = [style]

    @staticmethod
    def fn(_: float, style: str) -> float:
        """The field's value, whenever it is read."""
        return learning_rate(style)


def get_config(style: str = "xdog") -> ml_collections.ConfigDict:
    """The paper's recipe at 64x128 for one sketch style; variants change fields of it."""
    config = ml_collections.ConfigDict()
    config.seed = 0  # ours; of everything random in a run
    # slides; "conditional" is the baseline in the manner of pix2pix, Isola et al. 2017: ours
    config.kind = "contextual"

    config.data = ml_collections.ConfigDict()
    # ours; what cgan-prepare wrote, or anything that its --source takes
    config.data.source = "data/faces_train.zip"
    # Of "xdog,fdog" a joint image of planes holds both, one of halves either, drawn anew
    # each time.
    config.data.style = style  # slides name XDoG and two more; lines only: ours
    config.data.frame = "wide"  # ours; wide or tight; what is prepared has been cut
    config.data.max_broken = 0.01  # ours; part of the pictures that may be broken
    config.data.cache_dir = "~/.cache/cgan_jax"  # ours; sketch-photo pairs, made once
    config.data.flip = True  # ours; mirrors half of the pairs, drawn anew each time

    config.model = ml_collections.ConfigDict()
    config.model.base_filters = 64  # figure; channels at half of the image's size
    config.model.z_dim = 100  # slides; a conditional GAN has no z
    config.model.height = 64  # figure; pixels, of sketches and photographs
    # figure; "halves": sketch and photograph side by side; "planes": channels of one picture
    config.model.layout = "halves"
    config.model.kernel_size = 5  # figure; of all convolutions
    config.model.dtype = "float32"  # ours; of the computation, parameters are float32
    # figure; "spectral": Miyato et al. 2018, on every layer in place of batch norm; "none"
    config.model.disc_norm = "batch"

    config.train = ml_collections.ConfigDict()
    config.train.batch_size = 64  # slides; pairs a step, over all devices
    config.train.num_epochs = 200.0  # slides; parts of one are allowed
    # slides; of G and D, by the style until it is set
    config.train.learning_rate = ml_collections.FieldReference(
        0.0, op=_ByStyle(config.data.get_ref("style"))
    )
    config.train.beta1 = 0.5  # authors' code; Adam's decay of the first moment
    # ours; of G's parameters, a step; Yazici et al. 2019 compare decays
    config.train.ema_decay = 0.999
    # Against a D that wins, off unless said otherwise; docs/recipes.md compares them.
    # ours; updates of G for one of D: Goodfellow et al. 2014, algorithm 1; authors' code: 2
    config.train.gen_updates = 1
    # ours; one-sided label smoothing: 0.9 in Salimans et al. 2016, section 3.4
    config.train.real_label = 1.0
    # ours; weight of R1, Mescheder et al. 2018, section 4.1: 10 there
    config.train.r1_gamma = 0.0
    # ours; R1 in one step of so many: 16 in Karras et al. 2020 (StyleGAN2), section 3.1
    config.train.r1_every_steps = 1
    # ours; "color,translation,cutout" or some of them: Zhao et al. 2020 (DiffAugment)
    config.train.diffaugment = ""
    # ours; blur of the sketches that D sees, standard deviation in pixels; early in
    # training of whole images: Karras et al. 2021 (StyleGAN3), ours all along
    config.train.stroke_blur = 0.0
    # Noise on the sketches that D sees, standard deviation on [-1, 1]; on whole images:
    # ours; Arjovsky and Bottou 2017, section 3 (instance noise)
    config.train.stroke_noise = 0.0
    # ours; random offsets of G's inner layers, standard deviation in units of each channel's
    config.train.inner_noise = 0.0
    config.train.inner_layers = 3  # ours; how many have them, the coarsest first

    config.conditional = ml_collections.ConfigDict()
    # ours; lambda, of L1 beside the adversarial loss: Isola et al. 2017, section 4.2
    config.conditional.l1_weight = 100.0

    config.report = ml_collections.ConfigDict()
    config.report.log_every_steps = 50  # ours
    config.report.sample_every_steps = 500  # ours
    config.report.checkpoint_every_steps = 500  # ours
    config.report.checkpoint_every_minutes = 15.0  # ours; looked at when it logs
    config.report.checkpoints_kept = 3  # ours; the newest, and beside them the best
    config.report.num_samples = 32  # ours; pairs on a sample sheet
    # Held-out sketches that are completed on the way; the checkpoint is kept whose
    # completions are likest to the photographs.
    config.report.validate_every_steps = 500  # ours
    config.report.num_validation = 16  # ours; sketches; 0 completes none
    config.report.validation_starts = 256  # ours; as projection.num_starts
    config.report.validation_steps = 20  # ours; as projection.num_steps
    # ours; as projection.inner_steps, which are left out if those are 0
    config.report.validation_inner_steps = 30

    config.encoder = ml_collections.ConfigDict()
    config.encoder.base_filters = 32  # ours; channels after the first convolution
    config.encoder.num_steps = 1200  # ours; 15 minutes on two CPU cores at 32 filters
    config.encoder.batch_size = 64  # ours; samples of G a step
    config.encoder.learning_rate = 1e-3  # ours; of Adam, the highest
    config.encoder.sketch_weight = 0.3  # ours; of the KL divergence, beside z's error

    config.projection = ml_collections.ConfigDict()
    # Of starts, candidates and steps, what gave the best photographs of held-out faces
    # (docs/design.md): a closer fit to the sketch by z alone washes them out.
    config.projection.num_starts = 128  # ours; latents that are ranked
    # ours; latents of the model's encoder that are ranked beside them
    config.projection.encoder_starts = 0
    config.projection.num_candidates = 2  # ours; best starts, refined side by side
    config.projection.num_steps = 18  # ours; of z alone
    config.projection.optimizer = "adam"  # request; adam, nesterov or sgd
    config.projection.learning_rate = 0.05  # ours; z lies in [-1, 1]
    # authors' code; Nesterov's there, Adam's beta1 too
    config.projection.momentum = 0.9
    config.projection.keep_spread = True  # ours; z stays where G was trained
    config.projection.distance = "kl"  # slides; kl, js, l1, l2 or cross-entropy
    config.projection.photo_distance = "l2"  # ours; the same, of a known photograph
    config.projection.photo_weight = 1.0  # ours; beside each sketch's 1
    config.projection.direction = "y||G"  # figure; y||G or G||y
    config.projection.start_direction = "y||G"  # authors' code, ranking of starts
    config.projection.mass = "ink"  # ours; ink or intensity
    config.projection.epsilon = 1e-3  # ours; grey value
    config.projection.perceptual_weight = 0.0  # ours; 0.01 on the slides
    config.projection.perceptual_form = "log(1-D)"  # figure; or -log(D)
    config.projection.perceptual_role = "steers"  # figure; steers or ranks
    # Then z and the offsets of G's inner layers together, after Daras et al. 2021.
    config.projection.inner_steps = 60  # ours; 0 leaves it at z
    config.projection.inner_layers = (
        3  # ours; how many have offsets, the coarsest first
    )
    config.projection.inner_learning_rate = 0.05  # ours; of Adam
    config.projection.inner_distance = "l2"  # ours; of all known parts
    config.projection.inner_weight = 4.0  # ours; beside the penalty of the offsets
    # ours; how closely the answer follows what is known: 0 is z alone, 1 every stroke
    config.projection.closeness = 0.5
    return config.lock()
