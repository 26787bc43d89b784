/* config.json, for every family that ships: what is understood is printed, counted and planned for. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "model/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct moe_spec_options o = {.directory = "DIRECTORY", .families = "share/families", .config = (const char *)data, .config_nbytes = size};
	struct moe_model m = {0};
	struct moe_sizes z;
	struct moe_plan p;
	struct moe_diag d = {0};
	char *text;

	if (moe_spec_load(&m.spec, &o, &d)) {
		FUZZ_EXPECT(d.code && d.text[0]);
		return 0;
	}
	text = moe_spec_string(m.spec);
	FUZZ_EXPECT(text && strstr(text, "family = "));
	free(text);
	if (!moe_spec_sizes(m.spec, &z, &d) && !moe_plan_make(&p, &m, &(struct moe_plan_options){.tokens = 1000}, &d))
		FUZZ_EXPECT(z.active <= z.parameters && p.total >= p.weights);
	moe_spec_free(m.spec);
	return 0;
}
