package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"weir/configs"
)

// configCommand looks at configuration files.
type configCommand struct {
	Check configCheck `cmd:"" help:"Say whether a file is valid, and what is wrong with it."`
	Print configPrint `cmd:"" help:"Print the configuration in force, defaults included; without a file the commented reference."`
}

// configCheck validates a file.
type configCheck struct {
	File string `arg:"" help:"The file."`
	JSON bool   `name:"json" help:"Print JSON."`
}

// Run prints every problem; any makes the exit code 2.
func (c *configCheck) Run(std streams) error {
	config, err := configs.Load(c.File)
	if err == nil {
		err = config.Validate()
	}
	if c.JSON {
		return c.printJSON(std, err)
	}
	if err != nil {
		return usageError{err}
	}
	fmt.Fprintf(std.out, "%s is valid\n", c.File)
	return nil
}

func (c *configCheck) printJSON(std streams, err error) error {
	answer := struct {
		File     string   `json:"file"`
		Valid    bool     `json:"valid"`
		Problems []string `json:"problems"`
	}{c.File, err == nil, []string{}}
	var problems configs.Problems
	switch {
	case errors.As(err, &problems):
		for i := range problems {
			answer.Problems = append(answer.Problems, problems[i].Error())
		}
	case err != nil:
		answer.Problems = append(answer.Problems, err.Error())
	}
	if encodeErr := json.NewEncoder(std.out).Encode(answer); encodeErr != nil {
		return encodeErr
	}
	if err != nil {
		return usageError{errors.New("the file is not valid")}
	}
	return nil
}

// configPrint prints a configuration.
type configPrint struct {
	File string `arg:"" optional:"" help:"The file."`
}

// Run prints YAML that can be used as a file.
func (c *configPrint) Run(std streams) error {
	if c.File == "" {
		_, err := std.out.Write(configs.Reference())
		return err
	}
	config, err := loadConfig(c.File)
	if err != nil {
		return err
	}
	return config.Print(std.out)
}
