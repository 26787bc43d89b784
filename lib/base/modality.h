/* What a row stands for: the numbers of the tensor `modality` (moe-stream(5)) and their names. */
#ifndef MOE_BASE_MODALITY_H
#define MOE_BASE_MODALITY_H

enum moe_modality { MOE_TEXT, MOE_IMAGE, MOE_AUDIO, MOE_VIDEO, MOE_OTHER, MOE_N_MODALITIES };

/* Numbers that have no name yet are all "other". */
static inline enum moe_modality moe_modality_of(unsigned number) { return number < MOE_OTHER ? (enum moe_modality)number : MOE_OTHER; }

static inline const char *moe_modality_name(unsigned number)
{
	static const char *const names[MOE_N_MODALITIES] = {"text", "image", "audio", "video", "other"};

	return names[moe_modality_of(number)];
}

#endif
