/* Every setting that a family file may have. A new setting is one row here, one field in spec.h, and its use in the part. */
#include "model/spec_priv.h"

#define AT(field) offsetof(struct moe_spec, field)

enum { MAX_DIM = 1 << 20, MAX_VOCAB = 1 << 24 };

const struct moe_setting moe_settings[] = {
	{"layers.count", MOE_SET_INT, AT(n_layers), 1, 4096, 0, 0, 0},
	{"layers.block", MOE_SET_CHOICE, AT(block), 0, 0, "pre", "\"pre\"", 0},
	{"hidden", MOE_SET_INT, AT(hidden), 1, MAX_DIM, 0, 0, 0},
	{"vocab", MOE_SET_INT, AT(vocab), 1, MAX_VOCAB, 0, 0, 0},
	{"tied", MOE_SET_BOOL, AT(tied), 0, 0, 0, "false", 0},
	{"norm.kind", MOE_SET_CHOICE, AT(norm_kind), 0, 0, "rms", "\"rms\"", 0},
	{"norm.eps", MOE_SET_REAL, AT(norm_eps), 0, 1, 0, 0, 0},
	{"attention.kind", MOE_SET_CHOICE, AT(attention.kind), 0, 0, "gqa", "\"gqa\"", 0},
	{"attention.heads", MOE_SET_INT, AT(attention.heads), 1, 1024, 0, 0, 0},
	{"attention.kv_heads", MOE_SET_INT, AT(attention.kv_heads), 1, 1024, 0, 0, 0},
	{"attention.head_dim", MOE_SET_INT, AT(attention.head_dim), 2, 512, 0, 0, 0},
	{"attention.qk_norm", MOE_SET_CHOICE, AT(attention.qk_norm), 0, 0, "none full head", "\"none\"", 0},
	{"attention.clip", MOE_SET_REAL, AT(attention.clip), 0, 1e30, 0, "0", 0},
	{"attention.mask", MOE_SET_CHOICE, AT(attention.mask), 0, 0, "causal bidirectional_image", "\"causal\"", 0},
	{"attention.rope.pairs", MOE_SET_CHOICE, AT(attention.rope_pairs), 0, 0, "half", "\"half\"", 0},
	{"attention.rope.axes", MOE_SET_INT, AT(attention.rope_axes), 1, 2, 0, "1", 0},
	{"attention.rope.theta", MOE_SET_REAL, AT(attention.rope_theta), 1, 1e12, 0, 0, 0},
	{"router.experts", MOE_SET_INT, AT(router.experts), 1, 65535, 0, 0, 0},
	{"router.top_k", MOE_SET_INT, AT(router.top_k), 1, 256, 0, 0, 0},
	{"router.score", MOE_SET_CHOICE, AT(router.score), 0, 0, "softmax sigmoid logit", "\"softmax\"", 0},
	{"router.weight", MOE_SET_CHOICE, AT(router.weight), 0, 0, "score softmax_of_chosen", "\"score\"", 0},
	{"router.renormalise", MOE_SET_BOOL, AT(router.renormalise), 0, 0, 0, "false", 0},
	{"router.scale", MOE_SET_REAL, AT(router.scale), 0, 1e6, 0, "1", 0},
	{"experts.width", MOE_SET_INT, AT(expert_width), 1, MAX_DIM, 0, 0, 0},
	{"experts.act", MOE_SET_CHOICE, AT(expert_act), 0, 0, "silu", "\"silu\"", 0},
	{"tower.kind", MOE_SET_CHOICE, AT(tower.kind), 0, 0, "none conv_stem", "\"none\"", 0},
	{"tower.layers", MOE_SET_CONVS, AT(tower.conv), 0, 0, 0, 0, "tower"},
	{"tower.row_col", MOE_SET_BOOL, AT(tower.row_col), 0, 0, 0, "false", "tower"},
	{"image.kind", MOE_SET_CHOICE, AT(image.kind), 0, 0, "fit", "\"fit\"", "image"},
	{"image.channels", MOE_SET_INT, AT(image.channels), 3, 3, 0, "3", "image"},
	{"image.patch", MOE_SET_INT, AT(image.patch), 1, 256, 0, 0, "image"},
	{"image.grids", MOE_SET_GRIDS, AT(image.grid), 1, 4096, 0, 0, "image"},
	{"image.filter", MOE_SET_CHOICE, AT(image.filter), 0, 0, "bicubic", "\"bicubic\"", "image"},
	{"image.pad", MOE_SET_CHOICE, AT(image.pad), 0, 0, "border_median constant", "\"constant\"", "image"},
	{"image.pad_colour", MOE_SET_TRIPLE, AT(image.pad_colour), 0, 255, 0, "[0, 0, 0]", "image"},
	{"image.background", MOE_SET_TRIPLE, AT(image.background), 0, 255, 0, "[255, 255, 255]", "image"},
	{"image.mean", MOE_SET_TRIPLE, AT(image.mean), -1e6, 1e6, 0, 0, "image"},
	{"image.std", MOE_SET_TRIPLE, AT(image.std), 1e-6, 1e6, 0, 0, "image"},
	{"merge.placeholder", MOE_SET_INT, AT(merge.placeholder), -1, MAX_VOCAB, 0, "-1", 0},
	{"merge.position", MOE_SET_CHOICE, AT(merge.position), 0, 0, "sequential axial", "\"sequential\"", 0},
	{"merge.text_offset", MOE_SET_INT, AT(merge.text_offset), 0, 1 << 30, 0, "0", 0},
	{"merge.image_first", MOE_SET_BOOL, AT(merge.image_first), 0, 0, 0, "false", 0},
	{"text.bos", MOE_SET_IDS, AT(text.bos), 0, MAX_VOCAB, 0, "[]", 0},
	{"text.eos", MOE_SET_IDS, AT(text.eos), 0, MAX_VOCAB, 0, "[]", 0},
	{"text.suppress", MOE_SET_IDS, AT(text.suppress), 0, MAX_VOCAB, 0, "[]", 0},
	{"text.max_new", MOE_SET_INT, AT(text.max_new), 1, 1 << 24, 0, "256", 0},
	{"text.prompt", MOE_SET_TEXT, AT(text.prompt), 0, sizeof ((struct moe_spec *)0)->text.prompt, 0, "\"\"", 0},
};

const size_t moe_n_settings = sizeof moe_settings / sizeof *moe_settings;
