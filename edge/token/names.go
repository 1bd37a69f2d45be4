package token

// named is a claim's name in JSON.
type named struct {
	label int64
	name  string
}

// claimList has the claims that are known, by label.
func claimList() []named {
	return []named{
		{claimIssuer, "iss"},
		{claimSubject, "sub"},
		{claimAudience, "aud"},
		{claimExpires, "exp"},
		{claimNotBefore, "nbf"},
		{claimIssuedAt, "iat"},
		{claimID, "cti"},
		{claimConfirm, "cnf"},
		{claimOr, "or"},
		{claimNor, "nor"},
		{claimAnd, "and"},
		{claimEncrypted, "enc"},
		{claimCritical, "crit"},
		{claimGeohash, "geohash"},
		{claimReplay, "catreplay"},
		{claimRejection, "catpor"},
		{claimVersion, "catv"},
		{claimNetworks, "catnip"},
		{claimURI, "catu"},
		{claimMethods, "catm"},
		{claimALPN, "catalpn"},
		{claimHeader, "cath"},
		{claimCountries, "catgeoiso3166"},
		{claimCircles, "catgeocoord"},
		{claimAltitude, "catgeoalt"},
		{claimClientKey, "cattpk"},
		{claimIfData, "catifdata"},
		{claimDPoP, "catdpop"},
		{claimIf, "catif"},
		{claimRenewal, "catr"},
		{claimTLSPrint, "cattprint"},
	}
}

// claimName is "" for a claim that is unknown.
func claimName(label int64) string {
	for _, c := range claimList() {
		if c.label == label {
			return c.name
		}
	}
	return ""
}

func claimLabel(name string) (int64, bool) {
	for _, c := range claimList() {
		if c.name == name {
			return c.label, true
		}
	}
	return 0, false
}
