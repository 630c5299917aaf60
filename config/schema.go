package config

import (
	_ "embed"
)

//go:embed schema.json
var schema string

// Schema returns a JSON Schema (2020-12) of config.json, so that editors can
// complete and check one: every member with its description, default and
// bounds. What Load accepts is valid by it; what depends on other parts of a
// file, such as the name of a pool, only Load can tell.
func Schema() string { return schema }
