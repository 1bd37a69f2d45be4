package configs

import "reflect"

// Differences lists the keys whose values differ, in the order of the file; sites and other lists count as one key each.
func Differences(a, b *Config) []string {
	return differ(reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem(), "")
}

func differ(a, b reflect.Value, path string) (keys []string) {
	for i := range a.NumField() {
		name := a.Type().Field(i).Tag.Get("yaml")
		if name == "" {
			continue
		}
		x, y, full := a.Field(i), b.Field(i), join(path, name)
		switch {
		case x.Kind() == reflect.Struct:
			keys = append(keys, differ(x, y, full)...)
		case (x.Kind() == reflect.Slice || x.Kind() == reflect.Map) && x.Len() == 0 && y.Len() == 0: // nothing, written or not
		case !reflect.DeepEqual(x.Interface(), y.Interface()):
			keys = append(keys, full)
		}
	}
	return keys
}
