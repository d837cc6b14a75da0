"""Defaults of every experiment, each with its unit and the source of its value.

Sources: "slides", "figure": the talk on, and the figures of, *Image Generation from
Sketch Constraint Using Contextual GAN* (ECCV 2018, arXiv 1711.08972); "authors' code":
the released variant; "request": asked for by this project's users; "ours": decided here
(docs/design.md says why).
"""

import ml_collections


def get_config(style: str = "xdog") -> ml_collections.ConfigDict:
    """The paper's recipe at 64x128 for one sketch style; variants change fields of it."""
    config = ml_collections.ConfigDict()
    config.seed = 0  # ours; of everything random in a run
    # slides; "conditional" is the baseline in the manner of pix2pix, Isola et al. 2017: ours
    config.kind = "contextual"

    config.data = ml_collections.ConfigDict()
    # ours; what cgan-prepare wrote, or anything that its --source takes
    config.data.source = "data/faces_train.zip"
    # "xdog,fdog" mixes: each pair shows one of them, drawn anew each time.
    config.data.style = style  # slides name XDoG and two more; lines only: ours
    config.data.frame = "wide"  # ours; wide or tight; what is prepared has been cut
    config.data.max_broken = 0.01  # ours; part of the pictures that may be broken
    config.data.cache_dir = "~/.cache/cgan_jax"  # ours; sketch-photo pairs, made once
    config.data.flip = True  # ours; mirrors both halves of half of the pairs

    config.model = ml_collections.ConfigDict()
    config.model.base_filters = 64  # figure; channels at half of the image's size
    config.model.z_dim = 100  # slides; a conditional GAN has no z
    config.model.height = 64  # figure; pixels, the joint image is twice as wide
    config.model.dtype = "float32"  # ours; of the computation, parameters are float32
    # figure; "spectral": Miyato et al. 2018, on every layer in place of batch norm; "none"
    config.model.disc_norm = "batch"

    config.train = ml_collections.ConfigDict()
    config.train.batch_size = 64  # slides; pairs a step, over all devices
    config.train.num_epochs = 200.0  # slides; parts of one are allowed
    # slides; of G and D: 2e-4 for XDoG, 1e-5 for every other style
    config.train.learning_rate = 2e-4 if style in ("xdog", "xdog_solid") else 1e-5
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

    config.encoder = ml_collections.ConfigDict()
    config.encoder.base_filters = 32  # ours; channels after the first convolution
    config.encoder.num_steps = 1200  # ours; 15 minutes on two CPU cores at 32 filters
    config.encoder.batch_size = 64  # ours; samples of G a step
    config.encoder.learning_rate = 1e-3  # ours; of Adam, the highest
    config.encoder.sketch_weight = 0.3  # ours; of the KL divergence, beside z's error

    config.projection = ml_collections.ConfigDict()
    # Of starts, candidates and steps, what gave the best photographs of held-out faces
    # (docs/design.md): a closer fit to the sketch washes them out.
    config.projection.num_starts = 128  # ours; latents that are ranked
    # ours; latents of the model's encoder that are ranked beside them
    config.projection.encoder_starts = 0
    config.projection.stages = ()  # ours; (candidates, steps) before the last stage
    config.projection.num_candidates = 2  # ours; best starts, refined side by side
    config.projection.num_steps = 18  # ours; of the last stage
    config.projection.optimizer = "adam"  # request; adam, nesterov or sgd
    config.projection.learning_rate = 0.05  # ours; z lies in [-1, 1]
    # ours; constant, rising, falling or cosine
    config.projection.learning_rate_schedule = "constant"
    # authors' code; Nesterov's there, Adam's beta1 too
    config.projection.momentum = 0.9
    config.projection.bound = "clip"  # authors' code; clip or smooth
    config.projection.keep_spread = True  # ours; z stays where G was trained
    config.projection.noise = 0.0  # ours; standard deviation, of z in [-1, 1]
    config.projection.stop_at = 0.0  # ours; contextual loss at which a candidate rests
    config.projection.chunk_steps = 0  # ours; steps between looks who stalled; 0: none
    # ours; part of its loss that a sketch must lose from look to look to go on
    config.projection.stall_tolerance = 0.01
    config.projection.distance = "kl"  # slides; kl, js, l1, l2 or cross-entropy
    config.projection.photo_distance = "l2"  # ours; the same, of a known photo half
    config.projection.photo_weight = 1.0  # ours; beside the sketch half's 1
    config.projection.direction = "y||G"  # figure; y||G or G||y
    config.projection.start_direction = "y||G"  # authors' code, ranking of starts
    config.projection.mass = "ink"  # ours; ink or intensity
    config.projection.epsilon = 1e-3  # ours; grey value
    config.projection.blur_widths = ()  # ours; pixels, narrow before wide
    config.projection.blur_focus = 0.0  # ours; 0: all widths weigh alike
    config.projection.perceptual_weight = 0.0  # ours; 0.01 on the slides
    # ours; as the learning rate's
    config.projection.perceptual_schedule = "constant"
    config.projection.perceptual_form = "log(1-D)"  # figure; or -log(D)
    config.projection.perceptual_role = "steers"  # figure; steers or ranks
    return config.lock()
